"""Uniform replay from a ring (Lin, 1992; Mnih et al., 2015)."""

from collections.abc import Mapping
from typing import Unpack

import numpy as np

from buffers.buffer import Buffer, Common
from buffers.rows import Rows


class ReplayBuffer(Buffer):
    """First in, first out: keeps the newest `capacity` rows and draws uniformly, with replacement.

    Args:
        capacity: rows it can hold.
        clear_at_switch: whether `end_task` drops all rows.
        common: `state, action, extra, seed, storage, path`; see `Buffer`.
    """

    def __init__(
        self, capacity: int, *, clear_at_switch: bool = False, **common: Unpack[Common]
    ) -> None:
        super().__init__(capacity, **common)
        self._clear_at_switch = clear_at_switch
        self._rings = self._as_in(ReplayBuffer, "_admit", "_put")  # a kind may have other ideas

    def end_task(self) -> None:
        """Take note that the current task ends here; clears if so constructed."""
        if self._clear_at_switch:
            self.clear()

    def _insert(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        if self._rings and type(rows) is Rows and rows.n == 1:
            return self._insert_one(self._added % self._capacity, rows)
        return super()._insert(rows)

    def _admit(self, rows: Rows) -> np.ndarray:
        first = self._added % self._capacity
        slots = np.arange(first, first + rows.n)
        if first + rows.n > self._capacity:
            slots %= self._capacity
            slots[: max(rows.n - self._capacity, 0)] = -1
        return slots

    def _put(self, slots: np.ndarray, rows: Rows) -> np.ndarray:
        """Write rows to slots that follow one another around the ring: at most twice at once."""
        if not self._rings or not 0 < rows.n <= self._capacity:
            return super()._put(slots, rows)
        first = self._added % self._capacity
        room = self._capacity - first
        if rows.n <= room:
            self._storage.put_run(first, rows, self.seen)
        else:
            self._storage.put_run(first, rows.some(slice(room)), self.seen)
            self._storage.put_run(0, rows.some(slice(room, None)), self.seen + room)
        return slots

    def _keep(self, rows: int) -> np.ndarray:
        newest = np.arange(self._added - rows, self._added)
        return newest % self._capacity

    def _moved(self, kept: np.ndarray) -> None:
        self._added = len(kept)
