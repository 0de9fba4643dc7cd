"""A uniform sample of the stream that skips the rows it drops (Li, 1994, algorithm L)."""

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np

from buffers.buffer import Common
from buffers.reservoir import ReservoirBuffer, nowhere
from buffers.rows import Rows
from buffers.state import check_array
from buffers.storage import last_writes

AHEAD = 512  # rows to keep that are drawn at once
NEVER = 2**62  # a place in the stream that none reaches


class SkipReservoir(ReservoirBuffer):
    """Keeps `capacity` rows of the stream, each with the same probability, for long streams.

    Same sample as `ReservoirBuffer` in law, not in numbers. Algorithm R draws a number for every
    row; this one draws how many rows to skip, so that a batch of which nothing is kept costs no
    random number. Imagine a uniform key at every row and the `capacity` smallest kept: the largest
    of the kept keys, W, decides how many rows are skipped (geometric with success W), the row after
    them replaces a uniformly drawn one, and W becomes W * U^(1/capacity) (Li, 1994, section 3).

    Args:
        capacity: rows it can hold.
        common: `state, action, extra, seed`, as of `Buffer`.

    Deviations: numbers for many kept rows are drawn at once, and W is kept as its logarithm. When
    it shrinks, W is drawn anew from its law given the rows offered so far, Beta(capacity,
    rows - capacity + 1), of which Li's start, U^(1/capacity), is the case rows = capacity.
    """

    def __init__(self, capacity: int, **common: Unpack[Common]) -> None:
        super().__init__(capacity, **common)
        self._forget_plan()

    def clear(self) -> None:
        """Drop all rows. `seen` and the random stream go on."""
        super().clear()
        self._forget_plan()

    def _forget_plan(self) -> None:
        self._log_w = 0.0
        self._next = np.zeros(0, np.int64)  # places in the stream of the next rows to keep
        self._slot = np.zeros(0, np.int64)  # where each of them goes
        self._due = 0  # no row before this place is kept

    def _admit(self, rows: Rows) -> np.ndarray:
        first, end = self._added, self._added + rows.n
        slots = nowhere(rows.n)
        if end <= self._due:
            return slots
        fresh = min(max(self._capacity - first, 0), rows.n)
        if fresh:
            slots[:fresh] = np.arange(first, first + fresh)
        if end > self._capacity:
            self._plan(end)
            kept = int(self._next.searchsorted(end))
            slots[self._next[:kept] - first] = last_writes(self._slot[:kept])
            self._next, self._slot = self._next[kept:], self._slot[kept:]
            self._due = int(self._next[0])
        return last_writes(slots) if 0 < fresh < rows.n else slots

    def _plan(self, end: int) -> None:
        """Draw which rows are kept, at least up to place `end`."""
        if not len(self._next):
            seen = max(self._added, self._capacity)
            self._log_w = float(np.log(self._rng.beta(self._capacity, seen - self._capacity + 1)))
            self._extend(seen - 1)
        while self._next[-1] < end:
            self._extend(int(self._next[-1]))

    def _extend(self, last: int) -> None:
        """Draw some more rows to keep after place `last`."""
        n = min(AHEAD, self._capacity)  # as many rows as that pass by while W falls by a factor e
        log_w = self._log_w - self._rng.standard_exponential(n).cumsum() / self._capacity
        wait = self._rng.standard_exponential(n)
        with np.errstate(divide="ignore"):  # W may be 1 at first, and 0 in the far future
            skip = np.floor(wait / -np.log1p(-np.exp(np.append(self._log_w, log_w[:-1]))))
        places = last + np.minimum(skip + 1, NEVER / n).cumsum()
        self._next = np.append(self._next, np.minimum(places, NEVER).astype(np.int64))
        self._slot = np.append(self._slot, self._rng.integers(self._capacity, size=n))
        self._log_w = float(log_w[-1])

    def _moved(self, kept: np.ndarray) -> None:
        self._forget_plan()

    def _counters(self) -> dict[str, Any]:
        plan = {"log_w": self._log_w, "next": self._next.copy(), "slot": self._slot.copy()}
        return super()._counters() | plan

    def _check_counters(self, state: Mapping[str, Any]) -> int:
        stored = super()._check_counters(state)
        planned = np.size(state["next"])
        for name in ("next", "slot"):
            check_array(state, name, (planned,), self._next.dtype)
        places, slots = state["next"], state["slot"]
        if not isinstance(state["log_w"], float) or not state["log_w"] <= 0:
            raise ValueError(f"state has log_w {state['log_w']!r}, expected a number up to 0")
        if planned and (places[0] < state["added"] or (np.diff(places) < 0).any()):
            raise ValueError("state 'next': expected ascending places from 'added' on")
        if ((slots < 0) | (slots >= self._capacity)).any():
            raise ValueError(f"state 'slot': expected slots from 0 to {self._capacity - 1}")
        return stored

    def _load_counters(self, state: Mapping[str, Any]) -> None:
        super()._load_counters(state)
        self._log_w = state["log_w"]
        self._next, self._slot = state["next"].copy(), state["slot"].copy()
        self._due = int(self._next[0]) if len(self._next) else 0
