"""How likely each slot is drawn: in proportion to its surprise."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from buffers import saved
from buffers.sum_tree import SumTree

UNIT = 2.0**-24  # priorities are whole multiples of it: their sums are exact


class Priorities(Protocol):
    """How likely each slot is drawn, from how surprising its row was."""

    @property
    def nbytes(self) -> int: ...  # noqa: D102
    def set(self, slots: np.ndarray, surprise: np.ndarray) -> None: ...  # noqa: D102
    def draw(self, where: np.ndarray, rows: int) -> np.ndarray: ...  # noqa: D102
    def times_uniform(self, slots: np.ndarray, rows: int) -> np.ndarray: ...  # noqa: D102
    def alike(self, rows: int) -> bool: ...  # noqa: D102
    def keep(self, kept: np.ndarray, slots: int) -> "Priorities": ...  # noqa: D102
    def save(self, rows: int) -> dict[str, np.ndarray]: ...  # noqa: D102
    def check(self, state: Mapping[str, Any], rows: int) -> None: ...  # noqa: D102
    def load(self, state: Mapping[str, Any]) -> None: ...  # noqa: D102


class Proportional:
    """A slot is drawn in proportion to its surprise ** alpha (eq. 1 of Schaul et al., 2016).

    Priorities are rounded to multiples of 2^-24, positive ones at least to one; those too large for
    exact sums (2^37 / slots, which is 131,072 for a million slots) count as that.

    Args:
        slots: how many.
        alpha: 0 draws uniformly, 1 in full proportion.
    """

    def __init__(self, slots: int, alpha: float) -> None:
        self._alpha = alpha
        self._tree = SumTree(slots)
        with np.errstate(divide="ignore", over="ignore"):
            self._most = (self._tree.largest * UNIT / 2) ** np.divide(1, alpha)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self._tree.nbytes

    def set(self, slots: np.ndarray, surprise: np.ndarray) -> None:
        """Take note of the surprise [n], 0 or more, of the rows in `slots` [n]; last wins."""
        priority = np.minimum(surprise, self._most) ** self._alpha
        self._tree.set(slots, np.ceil(priority / UNIT).astype(np.int64))

    def draw(self, where: np.ndarray, rows: int) -> np.ndarray:
        """Slots at these ascending places [n], 0 to 1, of `rows`; uniform if all have 0."""
        if not self._tree.total:
            return np.minimum((where * rows).astype(np.int64), rows - 1)
        return self._tree.draw(where)

    def times_uniform(self, slots: np.ndarray, rows: int) -> np.ndarray:
        """Probability of each slot as a multiple of that of uniform draws from `rows`: N P(i)."""
        if not self._tree.total:
            return np.ones(len(slots))
        return self._tree.get(slots) * (rows / self._tree.total)

    def alike(self, rows: int) -> bool:
        """Whether the first `rows` slots are all as surprising."""
        priority = self._tree.get(np.arange(rows))
        return not (priority[1:] != priority[:-1]).any()

    def keep(self, kept: np.ndarray, slots: int) -> "Proportional":
        """Of `slots` slots from now on, where slot i has what slot kept[i] had."""
        new = Proportional(slots, self._alpha)
        new._tree.set(np.arange(len(kept)), self._tree.get(kept))
        return new

    def save(self, rows: int) -> dict[str, np.ndarray]:
        """Copy what the first `rows` slots hold."""
        return {"priority": self._tree.get(np.arange(rows))}

    def check(self, state: Mapping[str, Any], rows: int) -> None:
        """Raise ValueError unless `state` is what `save` returns for so many rows."""
        saved.check_array(state, "priority", (rows,), np.dtype(np.int64))
        self._tree.check(state["priority"])

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over a checked state; nothing may be held yet."""
        self._tree.set(np.arange(len(state["priority"])), state["priority"].copy())
