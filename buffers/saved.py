"""Checks of a saved state, all made before anything is loaded, and the generator's state as JSON.

A saved state is one flat dict: array values are ndarrays, all others can be written as JSON.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np


def check_keys(state: Collection[str], expected: Collection[str]) -> None:
    """Raise ValueError unless `state` has exactly the expected keys."""
    if missing := sorted(set(expected) - set(state)):
        raise ValueError(f"state lacks {missing}; was it saved by a buffer with other columns?")
    if unknown := sorted(set(state) - set(expected)):
        raise ValueError(f"state has unknown {unknown}; was it saved by a buffer of other columns?")


def check_settings(state: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise ValueError where the state was saved under another setting."""
    for name, mine in settings.items():
        if state.get(name) != mine:
            raise ValueError(f"state has {name} {state.get(name)!r}, this one {mine!r}")


def check_counters(state: Mapping[str, Any], *names: str) -> None:
    """Raise ValueError where a counter is not a whole number of at least 0."""
    for name in names:
        value = state[name]
        if not isinstance(value, int) or value < 0:
            raise ValueError(f"state has {name} {value!r}, expected a whole number from 0 up")


def check_array(
    state: Mapping[str, Any], name: str, shape: tuple[int, ...], dtype: np.dtype
) -> None:
    """Raise ValueError unless `state[name]` is an array of this shape and dtype."""
    given = state[name]
    if not isinstance(given, np.ndarray):
        raise ValueError(f"state {name!r}: expected an array, given {type(given).__name__}")
    if given.shape != shape or given.dtype != dtype:
        raise ValueError(
            f"state {name!r}: expected {dtype} {list(shape)}, "
            f"given {given.dtype} {list(given.shape)}"
        )


def save_generator(rng: np.random.Generator) -> dict[str, Any]:
    """Return the generator's state as JSON can hold it."""
    state: dict[str, Any] = _plain(rng.bit_generator.state)
    return state


def check_generator(rng: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Raise ValueError unless `state` fits the generator, which stays as it is."""
    try:
        type(rng.bit_generator)().state = state
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ValueError(f"state of the random generator does not fit: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def prefixed(part: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state with the part's name before each key."""
    return {f"{part}.{key}": value for key, value in state.items()}


def unprefixed(state: Mapping[str, Any], parts: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return each part's state from those keys of `state` that carry a part's name.

    Raises:
        ValueError: a key carries another name.
    """
    found: dict[str, dict[str, Any]] = {part: {} for part in parts}
    for key, value in state.items():
        part, dot, name = key.partition(".")
        if dot and part not in found:
            raise ValueError(f"state has unknown {key!r}; was it saved by another kind of buffer?")
        if dot:
            found[part][name] = value
    return found
