"""The most surprising rows, or those of the largest reward (Isele and Cosgun, 2018, 1802.10269).

Of the paper's four rules, matching the distribution of the stream is `ReservoirBuffer`. As in the
paper, a memory like these belongs beside recent rows: see `HybridBuffer` and `MixtureBuffer`.
"""

import heapq
from collections.abc import Mapping
from math import isqrt
from typing import Any, Unpack

import numpy as np

from buffers.buffer import Buffer, Common
from buffers.checks import checked_errors
from buffers.places import last_writes
from buffers.rows import Rows
from buffers.saved import check_array

LARGEST = np.finfo(np.float32).max  # beyond it is what nobody has been told of
TIE = np.uint64(2**32 - 1)  # the bits of a key that decide between equal scores


class TopBuffer(Buffer):
    """Keeps the `capacity` rows of the largest score; of equal ones a uniform sample.

    A row's key is one whole number: the bits of its score as float32, which are in the order of the
    scores as none is negative, and below them a random number. The lowest rows are in a heap, so a
    kept row costs a step there, and one of all sqrt(capacity) of them a partition of all rows.
    """

    def __init__(self, capacity: int, **common: Unpack[Common]) -> None:
        super().__init__(capacity, **common)
        self._key = np.zeros(capacity, np.uint64)
        self._forget_lowest()

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, filled or not."""
        return super().nbytes + self._key.nbytes

    def _forget_lowest(self) -> None:
        self._lowest: list[tuple[int, int]] = []  # heap of (key, slot): all up to `_bound`
        self._bound = 0

    def clear(self) -> None:
        """Drop all rows. `seen` and the random stream go on."""
        super().clear()
        self._forget_lowest()

    def _known(self) -> dict[str, Any]:
        """The scores known, None if there are none."""
        score = (self._key[: len(self)] >> np.uint64(32)).astype(np.uint32).view(np.float32)
        known = score[np.isfinite(score)].astype(np.float64)
        levels = np.quantile(known, [0, 0.5, 1]).tolist() if len(known) else []
        found = dict(zip(("min", "median", "max"), levels, strict=False))
        return {"score": found or None}

    def _score(self, rows: Rows) -> np.ndarray:
        """What each of the offered rows is worth, 0 or more, no NaN; float32 [n]."""
        raise NotImplementedError

    def _admit(self, rows: Rows) -> np.ndarray:
        n = rows.n
        # One draw per row, in the order of the rows: a batch draws what its rows would one by one.
        keys = _shifted(self._score(rows)) | self._rng.integers(2**32, size=n, dtype=np.uint32)
        fresh = min(max(self._capacity - self._added, 0), n)
        slots = np.full(n, -1)
        slots[:fresh] = np.arange(self._added, self._added + fresh)
        self._key[slots[:fresh]] = keys[:fresh]
        if fresh:
            self._forget_lowest()
        if fresh < n:
            self._contest(keys, fresh, slots)
        return slots

    def _contest(self, keys: np.ndarray, first: int, slots: np.ndarray) -> None:
        """Let rows `first` and on take the slots of lower ones."""
        rivals = np.flatnonzero(keys[first:] > self._least()) + first
        for row, key in zip(rivals.tolist(), keys[rivals].tolist(), strict=True):
            if key > self._least():
                slots[row] = slot = heapq.heappop(self._lowest)[1]
                self._key[slot] = key
                if key <= self._bound:
                    heapq.heappush(self._lowest, (key, slot))

    def _least(self) -> int:
        """The lowest key of all rows; there are `capacity`."""
        if not self._lowest:
            last = isqrt(self._capacity) - 1
            bound = np.partition(self._key, last)[last]
            low = np.flatnonzero(self._key <= bound)  # all of them: a saved memory is the same
            self._lowest = list(zip(self._key[low].tolist(), low.tolist(), strict=True))
            heapq.heapify(self._lowest)
            self._bound = int(bound)
        return self._lowest[0][0]

    def _keep(self, rows: int) -> np.ndarray:
        return np.argsort(self._key[: len(self)], kind="stable")[len(self) - rows :]

    def _moved(self, kept: np.ndarray) -> None:
        key = np.zeros(self._capacity, np.uint64)
        key[: len(kept)] = self._key[kept]
        self._key = key
        self._forget_lowest()

    def _counters(self) -> dict[str, Any]:
        return super()._counters() | {"key": self._key[: len(self)].copy()}

    def _check_counters(self, state: Mapping[str, Any]) -> int:
        rows = super()._check_counters(state)
        check_array(state, "key", (rows,), self._key.dtype)
        return rows

    def _load_counters(self, state: Mapping[str, Any]) -> None:
        super()._load_counters(state)
        self._key[: len(state["key"])] = state["key"]
        self._forget_lowest()


def _shifted(score: np.ndarray) -> np.ndarray:
    """The upper half of a key."""
    return score.view(np.uint32).astype(np.uint64) << np.uint64(32)


class RewardBuffer(TopBuffer):
    """Keeps the rows of the largest |reward| of the whole stream, exactly.

    With n-step rows, `reward` is the return of n steps. The paper ranks by |discounted return|:
    give it as an extra column and name that. The values are compared as float32 and as they were
    when the row came; NaN counts as 0.

    Args:
        capacity: rows it can hold.
        by: the column whose absolute value counts, one number per row.
        common: `state, action, extra, seed, storage, path`; see `Buffer`.

    Raises:
        ValueError: there is no such column, or it has a shape.
    """

    def __init__(self, capacity: int, *, by: str = "reward", **common: Unpack[Common]) -> None:
        super().__init__(capacity, **common)
        if by not in self.columns or self.columns[by].shape:
            scalar = [name for name, column in self.columns.items() if not column.shape]
            raise ValueError(f"by {by!r}: expected one of {scalar}")
        self._by = by

    def _score(self, rows: Rows) -> np.ndarray:
        value = np.abs(rows[self._by].astype(np.float64))
        with np.errstate(over="ignore"):
            return np.where(np.isnan(value), 0, value).astype(np.float32)


class SurpriseBuffer(TopBuffer):
    """Keeps the rows of the largest |TD error| that `feedback` told of them last.

    Deviation: the paper takes the error once, when the row comes. Here nobody knows it then, so a
    row counts as more surprising than any other until it has been told of (as new rows do in
    prioritised replay; Schaul et al., 2016); if there is no room for all such rows, a uniform
    sample of them is kept. Rows that are never drawn, such as those of the running task in a hybrid
    memory with `draw_current=False`, therefore stay a uniform sample. After `feedback` the next
    `add` costs a partition of all rows.
    """

    def _score(self, rows: Rows) -> np.ndarray:
        return np.full(rows.n, np.inf, np.float32)

    def feedback(self, index: np.ndarray, td_error: np.ndarray) -> None:
        """Tell how wrong the learner was on the rows at `index` [n]; repeats: last wins.

        Raises:
            ValueError: no row is stored there, or an error is missing or not finite. The buffer
                then stays as it was.
        """
        slots, td_error = checked_errors(index, td_error)
        self._check_index(slots)
        error = np.minimum(np.abs(td_error), LARGEST).astype(np.float32)
        last = last_writes(slots)
        told = last[last >= 0]
        self._key[told] = _shifted(error[last >= 0]) | self._key[told] & TIE
        self._forget_lowest()

    def idle(self) -> str | None:
        """Say so if it had no choice to make yet, or has been told of no row it holds."""
        untold = _shifted(np.array([np.inf], np.float32))[0]
        if (self._key[: len(self)] < untold).any():
            return super().idle()
        return super().idle() or "no TD error was told of the rows held: a uniform sample so far"
