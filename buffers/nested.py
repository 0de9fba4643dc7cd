"""Dictionaries of columns: `{"state": {"image": a}}` outside, `{"state.image": a}` inside."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings, named by their path.

    Raises:
        ValueError: a name is no text or empty, or a mapping is empty.
    """
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(name, str) or not name:
            raise ValueError(f"column {prefix}{name!r}: expected text as its name")
        # Asked of an array, the second question takes ten times as long as the first.
        if isinstance(value, np.ndarray) or not isinstance(value, Mapping):
            leaves[prefix + name] = value
        elif value:
            leaves |= flat(value, f"{prefix}{name}.")
        else:
            raise ValueError(f"column {prefix + name!r}: expected columns in it, given none")
    return leaves


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mappings whose leaves these are."""
    if not any("." in path for path in leaves):
        return dict(leaves)
    values: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *parents, name = path.split(".")
        inner = values
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[name] = leaf
    return values


def root(name: str) -> str:
    """Return the column that a leaf belongs to: `state` for `state.image`."""
    return name.partition(".")[0]
