"""A uniform sample of everything that was ever offered (Vitter, 1985, algorithm R)."""

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np

from buffers.buffer import Buffer, Common, one_slot
from buffers.rows import Rows
from buffers.state import check_array
from buffers.storage import last_writes

AHEAD = 2048  # rows to keep that are drawn at once


class ReservoirBuffer(Buffer):
    """Keeps `capacity` rows of the stream, each row offered with the same probability.

    Row i of the stream (from 0) goes to a slot drawn uniformly from 0 to i, and is dropped if there
    is no such slot: algorithm R. The rows drawn are uniform over those stored.

    Deviation: which rows are kept, and where, is drawn ahead, for many of them at once, so that a
    row that is dropped costs no random number. The law is that of a draw per row: of all rows from
    place f on, each is a candidate with the probability that row f has, capacity / (f + 1), so that
    skips between them are geometric; and a candidate at place i is kept with probability
    (f + 1) / (i + 1). The plan is a part of the state.

    Args:
        capacity: rows it can hold.
        common: `state, action, extra, seed`, as of `Buffer`.
    """

    def __init__(self, capacity: int, **common: Unpack[Common]) -> None:
        super().__init__(capacity, **common)
        self._forget_plan()

    def clear(self) -> None:
        """Drop all rows. `seen` and the random stream go on."""
        super().clear()
        self._forget_plan()

    def _forget_plan(self) -> None:
        self._next = np.zeros(0, np.int64)  # places in the stream of the next rows to keep
        self._slot = np.zeros(0, np.int64)  # where each of them goes; -1: nowhere
        self._due = 0  # no row before this place is kept

    def _admit(self, rows: Rows) -> np.ndarray:
        first, end = self._added, self._added + rows.n
        if end <= self._due:
            return nowhere(rows.n)
        if rows.n == 1:
            return one_slot(self._slot_of_one(first))
        slots = nowhere(rows.n)
        fresh = min(max(self._capacity - first, 0), rows.n)
        if fresh:
            slots[:fresh] = np.arange(first, first + fresh)
        if end > self._capacity:
            places, planned = self._planned(end)
            slots[places - first] = last_writes(planned)
        return last_writes(slots) if 0 < fresh < rows.n else slots

    def _slot_of_one(self, place: int) -> int:
        """The same for the single row that is due, in a third of the time."""
        if place < self._capacity:
            return place
        if len(self._next) > 1:
            slot, self._next, self._slot = int(self._slot[0]), self._next[1:], self._slot[1:]
            self._due = int(self._next[0])
            return slot
        planned = self._planned(place + 1)[1]
        return int(planned[0]) if len(planned) else -1

    def _planned(self, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Take out of the plan which rows before place `end` are kept, and where."""
        while not len(self._next) or self._next[-1] < end:
            before = self._next[-1] if len(self._next) else max(self._added, self._capacity) - 1
            self._extend(int(before))
        kept = int(self._next.searchsorted(end))
        now = self._next[:kept], self._slot[:kept]
        self._next, self._slot = self._next[kept:], self._slot[kept:]
        self._due = int(self._next[0])
        return now

    def _extend(self, last: int) -> None:
        """Draw some more rows to keep after place `last`."""
        n = min(AHEAD, self._capacity)  # as many candidates as half of which are kept at least
        probability = self._capacity / (last + 2)
        skip = np.floor(self._rng.standard_exponential(n) / -np.log1p(-probability))
        places = skip.cumsum() + np.arange(last + 1.0, last + 1 + n)
        slot = (self._rng.random(n) * (places + 1) * probability).astype(np.int64)
        kept = slot < self._capacity
        slot[~kept] = -1
        kept[-1] = True  # up to where the plan goes
        self._next = np.append(self._next, places[kept].astype(np.int64))
        self._slot = np.append(self._slot, slot[kept])

    def _keep(self, rows: int) -> np.ndarray:
        return np.sort(self._rng.choice(len(self), rows, replace=False))

    def _moved(self, kept: np.ndarray) -> None:
        self._forget_plan()

    def _counters(self) -> dict[str, Any]:
        return super()._counters() | {"next": self._next.copy(), "slot": self._slot.copy()}

    _spared = _counters  # a plan can be drawn anew, as no decision depends on another

    def _check_counters(self, state: Mapping[str, Any]) -> int:
        stored = super()._check_counters(state)
        planned = np.size(state["next"])
        for name in ("next", "slot"):
            check_array(state, name, (planned,), self._next.dtype)
        places, slots = state["next"], state["slot"]
        if planned and (places[0] < state["added"] or (np.diff(places) < 0).any()):
            raise ValueError("state 'next': expected ascending places from 'added' on")
        if ((slots < -1) | (slots >= self._capacity)).any():
            raise ValueError(f"state 'slot': expected slots from -1 to {self._capacity - 1}")
        return stored

    def _load_counters(self, state: Mapping[str, Any]) -> None:
        super()._load_counters(state)
        self._next, self._slot = state["next"].copy(), state["slot"].copy()
        self._due = int(self._next[0]) if len(self._next) else 0


def nowhere(rows: int) -> np.ndarray:
    """No slot, -1, for each of `rows` rows."""
    slots = np.empty(rows, np.int64)
    slots.fill(-1)  # half the time of np.full
    return slots
