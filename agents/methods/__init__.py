"""Continual-learning methods: one file per paper, combined by name.

To add one: write a function `mine(model, *, option=default, ...) -> Method` in its own file, and
add a line to METHODS. Whatever order they are asked for in, methods act in the order of METHODS.
"""

from collections.abc import Callable

from agents.methods.agem import agem
from agents.methods.distill import distill
from agents.methods.gem import gem
from agents.methods.method import Method
from agents.methods.ogd import ogd
from agents.methods.parsing import parse_methods
from agents.methods.pcgrad import pcgrad
from agents.model import Model

METHODS: dict[str, Callable[..., Method]] = {
    # terms on data
    "distill": distill,
    # terms on parameters
    # gradient rules
    "pcgrad": pcgrad,
    "gem": gem,
    "agem": agem,
    "ogd": ogd,
    # after a step
}
# Pairs that contradict each other, and why.
CONFLICTS: dict[frozenset[str], str] = {
    frozenset({"agem", "gem"}): "the second projection undoes what the first one promised",
    frozenset({"agem", "pcgrad"}): "pcgrad learns the old rows that agem only keeps from harm",
    frozenset({"gem", "pcgrad"}): "pcgrad learns the old rows that gem only keeps from harm",
}


def check_methods(text: str) -> None:
    """Refuses what `make_methods` would.

    Raises:
        ValueError: See `make_methods`.
    """
    parse_methods(text, METHODS, CONFLICTS)


def make_methods(text: str, model: Model) -> tuple[Method, ...]:
    """The methods of a text such as `ewc:strength=100,mode=online,distill`.

    Args:
        text: Methods separated by commas, options after a colon; `none` for plain DQN.
        model: The network and the tasks that they are for.

    Raises:
        ValueError: An unknown method or option (the message names the nearest one), a value that
            makes no sense, a method named twice, `none` beside others, a pair that contradicts
            each other, or one that must be told the task where its identity is hidden.
    """
    chosen = parse_methods(text, METHODS, CONFLICTS)
    methods = tuple(METHODS[name](model, **options) for name, options in chosen.items())
    for method in methods:
        if method.needs_tasks and not model.task_known:
            raise ValueError(f"{method.name} must be told the task: not with task_identity=hidden")
    return methods


__all__ = ["CONFLICTS", "METHODS", "Method", "check_methods", "make_methods"]
