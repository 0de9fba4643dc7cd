"""Continual-learning methods, one file per paper.

To add one: write it, and add a line to METHODS.
"""

import difflib
from collections.abc import Callable

from agents.methods.distill import distill
from agents.methods.method import Method
from agents.options import DQNOptions

METHODS: dict[str, Callable[[DQNOptions], Method]] = {
    "distill": distill,
}


def make_methods(options: DQNOptions) -> tuple[Method, ...]:
    """The methods named in the options, in their order.

    Raises:
        ValueError: An unknown method (the message names the nearest one), one named twice, or
            `none` beside others.
    """
    names = [name.strip() for name in options.methods.split(",") if name.strip()]
    if names in ([], ["none"]):
        return ()
    if "none" in names:
        raise ValueError(f"none stands alone, without other methods: {options.methods}")
    for name in names:
        if name not in METHODS:
            close = difflib.get_close_matches(name, [*METHODS, "none"], n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(METHODS)}, none"
            raise ValueError(f"unknown method {name!r}; {hint}")
    if len(set(names)) < len(names):
        raise ValueError(f"a method is named twice: {options.methods}")
    return tuple(METHODS[name](options) for name in names)


__all__ = ["METHODS", "Method", "make_methods"]
