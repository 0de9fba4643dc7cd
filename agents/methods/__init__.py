"""Continual-learning methods: one file per paper, combined by name.

To add one: write a function `mine(model, *, option=default, ...) -> Method` in its own file, and
add a line to METHODS. Whatever order they are asked for in, methods act in the order of METHODS.
"""

from collections.abc import Callable

import torch

from agents.flat import FlatNetwork
from agents.methods.agem import agem
from agents.methods.clear import clear
from agents.methods.clonex import clonex
from agents.methods.der import der
from agents.methods.derpp import derpp
from agents.methods.distill import distill
from agents.methods.ewc import ewc
from agents.methods.gem import gem
from agents.methods.l1 import l1
from agents.methods.l2 import l2
from agents.methods.l2_init import l2_init
from agents.methods.l2_previous import l2_previous
from agents.methods.lwf import lwf
from agents.methods.mas import mas
from agents.methods.medqn import medqn
from agents.methods.method import Method
from agents.methods.ogd import ogd
from agents.methods.parseval import parseval
from agents.methods.parsing import parse_methods
from agents.methods.pcgrad import pcgrad
from agents.methods.reset import reset
from agents.methods.rwalk import rwalk
from agents.methods.si import si
from agents.methods.spectral import spectral
from agents.model import Model
from agents.networks import NETWORKS, NetworkSpec
from agents.values import make_values

METHODS: dict[str, Callable[..., Method]] = {
    # terms on data
    "distill": distill,
    "der": der,
    "derpp": derpp,
    "clear": clear,
    "clonex": clonex,
    "lwf": lwf,
    "medqn": medqn,
    # terms on parameters
    "l1": l1,
    "l2": l2,
    "l2_init": l2_init,
    "parseval": parseval,
    "spectral": spectral,
    "l2_previous": l2_previous,
    "ewc": ewc,
    "mas": mas,
    # these measure the step: after the pulls
    "si": si,
    "rwalk": rwalk,
    # gradient rules
    "pcgrad": pcgrad,
    "gem": gem,
    "agem": agem,
    "ogd": ogd,
    # when a task begins
    "reset": reset,
}
# Methods that pull the weights to where an earlier task left them.
KEEPERS = ("l2_previous", "ewc", "mas", "si", "rwalk")
# Pairs that contradict each other, and why.
CONFLICTS: dict[frozenset[str], str] = {
    frozenset({"distill", "der"}): "der is distill without the TD loss of old rows",
    frozenset({"distill", "derpp"}): "derpp is distill with a weight for the TD loss of old rows",
    frozenset({"der", "derpp"}): "derpp is der with the TD loss of old rows",
    frozenset({"agem", "gem"}): "the second projection undoes what the first one promised",
    frozenset({"agem", "pcgrad"}): "pcgrad learns the old rows that agem only keeps from harm",
    frozenset({"gem", "pcgrad"}): "pcgrad learns the old rows that gem only keeps from harm",
} | {
    frozenset({name, "reset"}): f"reset moves the weights away from where {name} holds them"
    for name in KEEPERS
}


def check_methods(text: str, task_known: bool = True) -> None:
    """Refuses what `make_methods` would, before there is a network.

    Args:
        text: As in `make_methods`.
        task_known: Whether the agent may know which task it is in.

    Raises:
        ValueError: As in `make_methods`.
    """
    with torch.device("meta"):
        network = FlatNetwork(NETWORKS["mlp"](NetworkSpec(shape=(1,), num_actions=1, num_tasks=1)))
    values = make_values("expectation", 1, 0.0, 1.0)
    make_methods(text, Model(network, values, torch.ones(1, 1, dtype=torch.bool), task_known))


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
