"""Checks of the numbers that physics are made of."""

import math
from typing import Any


def finite(name: str, value: float) -> float:
    """A parameter that may be any finite number.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, bool) or not _is_number(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    return float(value)


def nonzero(name: str, value: float) -> float:
    """A parameter of either sign.

    Raises:
        ValueError: It is zero or not finite.
    """
    if finite(name, value) == 0:
        raise ValueError(f"{name} must not be zero: actions would do nothing")
    return float(value)


def positive(name: str, value: float, most: float = math.inf) -> float:
    """A parameter above zero, and at most `most`.

    Raises:
        ValueError: It is not.
    """
    if not 0 < finite(name, value) <= most:
        limit = "" if most == math.inf else f" and at most {most:g}"
        raise ValueError(f"{name} must be above 0{limit}, got {value}")
    return float(value)


def _is_number(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except TypeError:
        return False
