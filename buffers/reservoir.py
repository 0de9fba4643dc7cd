"""A uniform sample of everything that was ever offered (Vitter, 1985, algorithm R)."""

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np

from buffers.buffer import Buffer, Common
from buffers.places import last_writes, nowhere
from buffers.plan import Plan
from buffers.rows import Rows
from buffers.saved import check_array

AHEAD = 2048  # rows to keep that are drawn at once
FEW = 8  # rows to keep that are sooner looked at one by one
Kept = tuple[np.ndarray, np.ndarray, np.ndarray]  # which rows, their slots, when they were born
_EMPTY = np.zeros(0, np.int64)
NOBODY = _EMPTY, _EMPTY, _EMPTY


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
        common: `state, action, extra, seed, storage, path`; see `Buffer`.
    """

    def __init__(self, capacity: int, **common: Unpack[Common]) -> None:
        super().__init__(capacity, **common)
        self._plans = self._as_in(ReservoirBuffer, "_admit")  # a kind may have other ideas
        self._alone = self._as_in(ReservoirBuffer, "_admit", "_put")
        self._forget_plan()

    def clear(self) -> None:
        """Drop all rows. `seen` and the random stream go on."""
        super().clear()
        self._forget_plan()

    def _forget_plan(self) -> None:
        self._plan = Plan(_EMPTY, _EMPTY)

    def _insert(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        try:
            if type(rows) is Rows and rows.n == 1 and self._alone:
                return self._insert_one(self._next_slot(), rows)
            return super()._insert(rows)
        except (OSError, MemoryError):  # no row came, so that the plan speaks of others
            self._forget_plan()
            raise

    def _next_slot(self) -> int:
        """Where the next row goes, or -1."""
        place = self._added
        if place < self._capacity:
            return place
        if place >= self._plan.end:
            self._plan_to(place + 1)
        return -1 if place < self._plan.due else self._plan.take_one()

    def _admit(self, rows: Rows) -> np.ndarray:
        first, end = self._added, self._added + rows.n
        self._kept: Kept | list[tuple[int, int]] | None = NOBODY
        if end <= self._plan.due or first == end:
            return nowhere(rows.n)
        if end > self._capacity and end > self._plan.end:
            self._plan_to(end)
        if first < self._capacity:
            return self._admit_first(first, end)
        if end <= self._plan.due:  # which was not known yet
            return nowhere(rows.n)
        few = self._plan.few(end, FEW)
        return self._admit_few(first, end) if few else self._admit_many(first, end)

    def _admit_few(self, first: int, end: int) -> np.ndarray:
        slots = nowhere(end - first)
        self._kept = pairs = [(place - first, slot) for place, slot in self._plan.take_few(end)]
        for row, slot in pairs:
            slots[row] = slot
        return slots

    def _admit_first(self, first: int, end: int) -> np.ndarray:
        """Give the first rows the slots that are free, and the others what is planned."""
        fresh, self._kept = min(self._capacity, end) - first, None
        slots = nowhere(end - first)
        slots[:fresh] = np.arange(first, first + fresh)
        if end > self._capacity:
            places, where = self._plan.take(end)
            slots[places - first] = where
        return slots

    def _admit_many(self, first: int, end: int) -> np.ndarray:
        places, where = self._plan.take(end)
        slots, which = nowhere(end - first), places - first
        slots[which] = where
        cleared = self.seen - first  # what was offered before the last clear
        self._kept = which, where, places + cleared if cleared else places
        return slots

    def _put(self, slots: np.ndarray, rows: Rows) -> np.ndarray:
        if not self._plans or self._kept is None:
            return super()._put(slots, rows)
        if isinstance(self._kept, tuple):
            return self._storage.put(slots, rows, self.seen, self._kept)
        self._storage.put_each(self._kept, rows, self.seen)
        alone = len(self._kept) == 1 or len({slot for _, slot in self._kept}) == len(self._kept)
        return slots if alone else last_writes(slots)

    def _plan_to(self, end: int) -> None:
        """Know which rows before place `end` are kept."""
        while self._plan.end < end:
            last = max(self._plan.end, self._added - 1, self._capacity - 1)
            places, slots = self._more(last)
            old_places, old_slots = self._plan.rest()
            self._plan = Plan(np.append(old_places, places), np.append(old_slots, slots))

    def _more(self, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw which rows after place `last` are kept next, and where: places and slots."""
        n = min(AHEAD, self._capacity)  # as many candidates as half of which are kept at least
        probability = self._capacity / (last + 2)
        skip = (self._rng.standard_exponential(n) / -np.log1p(-probability)).astype(np.int64)
        skip += 1
        places = skip.cumsum()
        places += last
        slots = (self._rng.random(n) * (places + 1) * probability).astype(np.int64)
        slots[slots >= self._capacity] = -1
        return places, slots

    def _keep(self, rows: int) -> np.ndarray:
        return np.sort(self._rng.choice(len(self), rows, replace=False))

    def _moved(self, kept: np.ndarray) -> None:
        self._forget_plan()

    def _counters(self) -> dict[str, Any]:
        return super()._counters() | dict(zip(("next", "slot"), self._plan.rest(), strict=True))

    _spared = _counters  # a plan can be drawn anew, as no decision depends on another

    def _check_counters(self, state: Mapping[str, Any]) -> int:
        stored = super()._check_counters(state)
        planned = np.size(state["next"])
        for name in ("next", "slot"):
            check_array(state, name, (planned,), _EMPTY.dtype)
        places, slots = state["next"], state["slot"]
        if planned and (places[0] < state["added"] or (np.diff(places) < 0).any()):
            raise ValueError("state 'next': expected ascending places from 'added' on")
        if ((slots < -1) | (slots >= self._capacity)).any():
            raise ValueError(f"state 'slot': expected slots from -1 to {self._capacity - 1}")
        return stored

    def _load_counters(self, state: Mapping[str, Any]) -> None:
        super()._load_counters(state)
        self._plan = Plan(state["next"], state["slot"])
