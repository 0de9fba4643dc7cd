"""Prioritised replay by rank (Schaul et al., 2016, section 3.3): outliers matter less."""

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np

from buffers import saved
from buffers.prioritized import Options, Prioritized
from buffers.replay import ReplayBuffer
from buffers.sum_tree import last_of_each


class Ranks:
    """A slot is drawn in proportion to 1 / rank ** alpha, rank 1 being the most surprising.

    Ranks are those of the last sort, which is made anew before a draw once a tenth of the rows are
    new or have changed since; a row beyond those of the last sort waits for the next. Between sorts
    a row keeps its rank, also a new row that took the slot of another: Schaul et al. (2016,
    appendix B.2.1) sort rarely too, and use the array of a heap in between. Their segments of
    equal probability are exact here, one for each row drawn.

    Args:
        slots: how many.
        alpha: 0 draws uniformly.
    """

    def __init__(self, slots: int, alpha: float) -> None:
        self._alpha = alpha
        self._surprise = np.zeros(slots, np.float32)
        self._changed = np.zeros(slots, bool)  # since the last sort
        self._changes = 0
        self._order = np.empty(0, np.int64)
        self._rank = np.zeros(slots, np.int64)  # from 0
        self._ends = (np.arange(1, slots + 1.0) ** -alpha).cumsum()

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        arrays = (self._surprise, self._changed, self._rank, self._ends)
        room = self._rank.nbytes  # of the order, once all slots are ranked
        return room + sum(values.nbytes for values in arrays)

    def set(self, slots: np.ndarray, surprise: np.ndarray) -> None:
        """Take note of the surprise [n], 0 or more, of the rows in `slots` [n]; last wins."""
        slots, surprise = last_of_each(slots, surprise)
        with np.errstate(over="ignore"):
            self._surprise[slots] = surprise
        self._changes += len(slots) - int(np.count_nonzero(self._changed[slots]))
        self._changed[slots] = True

    def draw(self, where: np.ndarray, rows: int) -> np.ndarray:
        """Slots at these ascending places [n], from 0 to 1, of the first `rows`."""
        if self._changes * 10 >= len(self._order):
            self._sort(rows)
        ends = self._ends[: len(self._order)]
        rank = ends.searchsorted(where * ends[-1], side="right")
        return self._order.take(rank, mode="clip")

    def times_uniform(self, slots: np.ndarray, rows: int) -> np.ndarray:
        """Probability of each slot as a multiple of that of uniform draws: N P(i)."""
        ranked = len(self._order)
        return (self._rank.take(slots) + 1.0) ** -self._alpha * (ranked / self._ends[ranked - 1])

    def _sort(self, rows: int) -> None:
        """Rank the first `rows` slots, equals by slot."""
        # The bits of a float that is not negative, read as a whole number, have the float's order.
        falling = 2**31 - 1 - self._surprise[:rows].view(np.int32).astype(np.int64)
        keys = np.sort(falling << 32 | np.arange(rows))
        self._restore(keys & (2**32 - 1))
        self._changed[:] = False
        self._changes = 0

    def _restore(self, order: np.ndarray) -> None:
        self._order = order
        self._rank[order] = np.arange(len(order))

    def alike(self, rows: int) -> bool:
        """Whether the first `rows` slots are all as surprising."""
        surprise = self._surprise[:rows]
        return not (surprise[1:] != surprise[:-1]).any()

    def keep(self, kept: np.ndarray, slots: int) -> "Ranks":
        """Of `slots` slots from now on, where slot i has what slot kept[i] had."""
        new = Ranks(slots, self._alpha)
        new.set(np.arange(len(kept)), self._surprise[kept])
        return new

    def save(self, rows: int) -> dict[str, np.ndarray]:
        """Copy what the first `rows` slots hold."""
        return {
            "surprise": self._surprise[:rows].copy(),
            "changed": self._changed[:rows].copy(),
            "order": self._order.copy(),
        }

    def check(self, state: Mapping[str, Any], rows: int) -> None:
        """Raise ValueError unless `state` is what `save` returns for so many rows."""
        saved.check_array(state, "surprise", (rows,), self._surprise.dtype)
        saved.check_array(state, "changed", (rows,), self._changed.dtype)
        ranked = min(np.size(state["order"]), rows)
        saved.check_array(state, "order", (ranked,), self._order.dtype)
        if not np.array_equal(np.sort(state["order"]), np.arange(ranked)):
            raise ValueError(f"state 'order': expected the numbers from 0 to {ranked - 1}")
        if not (state["surprise"] >= 0).all():
            raise ValueError("state 'surprise': expected 0 or more, given NaN or less")

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over a checked state; nothing may be held yet."""
        rows = len(state["surprise"])
        self._surprise[:rows], self._changed[:rows] = state["surprise"], state["changed"]
        self._changes = int(np.count_nonzero(state["changed"]))
        self._restore(state["order"].copy())


class Ranked(Prioritized):
    """Draws a row in proportion to 1 / rank ** alpha, by |TD error| (Schaul et al., 2016).

    Outliers matter less than in proportional draws. Ranks are refreshed when a tenth of the rows
    have changed; see `Ranks`. All else is as in `Prioritized`.
    """

    _priorities_of = Ranks

    def __init__(
        self, capacity: int, *, alpha: float = 0.7, beta: float = 0.5, **options: Any
    ) -> None:
        super().__init__(capacity, alpha=alpha, beta=beta, **options)


class RankBuffer(Ranked, ReplayBuffer):
    """First in, first out; the higher the rank of what surprised, the more often it is drawn.

    Args:
        capacity: rows it can hold.
        clear_at_switch: whether `end_task` drops all rows.
        options: as of `Prioritized` and `Buffer`; by default alpha is 0.7 and beta 0.5.
    """

    def __init__(
        self, capacity: int, *, clear_at_switch: bool = False, **options: Unpack[Options]
    ) -> None:
        super().__init__(capacity, clear_at_switch=clear_at_switch, **options)
