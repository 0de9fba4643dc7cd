"""Uniform replay from a ring (Lin, 1992; Mnih et al., 2015)."""

from collections.abc import Mapping
from typing import Unpack

import numpy as np

from buffers.buffer import Buffer, Common
from buffers.columns import Column, Memory, Sample

__all__ = ["Column", "Memory", "ReplayBuffer", "Sample"]


class ReplayBuffer(Buffer):
    """First in, first out: keeps the newest `capacity` rows and draws uniformly, with replacement.

    Args:
        capacity: rows it can hold.
        clear_at_switch: whether `end_task` drops all rows.
        common: `state, action, extra, seed`, as of `Buffer`.
    """

    def __init__(
        self, capacity: int, *, clear_at_switch: bool = False, **common: Unpack[Common]
    ) -> None:
        super().__init__(capacity, **common)
        self._clear_at_switch = clear_at_switch

    def end_task(self) -> None:
        """Take note that the current task ends here; clears if so constructed."""
        if self._clear_at_switch:
            self.clear()

    def _admit(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        n = len(rows["task"])
        slots = (self._added + np.arange(n)) % self._capacity
        if n > self._capacity:
            slots[: n - self._capacity] = -1
        return slots

    def _keep(self, rows: int) -> np.ndarray:
        newest = np.arange(self._added - rows, self._added)
        return newest % self._capacity

    def _moved(self, kept: np.ndarray) -> None:
        self._added = len(kept)
