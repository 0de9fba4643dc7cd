"""A uniform sample of everything that was ever offered (Vitter, 1985, algorithm R)."""

from collections.abc import Mapping

import numpy as np

from buffers.buffer import Buffer
from buffers.storage import last_writes


class ReservoirBuffer(Buffer):
    """Keeps `capacity` rows of the stream, each row offered with the same probability.

    Row i of the stream (from 0) goes to a slot drawn uniformly from 0 to i, and is dropped if there
    is no such slot: algorithm R. The rows drawn are uniform over those stored.
    """

    def _admit(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        order = self._added + np.arange(len(rows["task"]))
        # One draw per row, in the order of the rows: a batch draws what its rows would one by one.
        slot = self._rng.integers(order + 1)
        slot = np.where(order < self._capacity, order, slot)
        return last_writes(np.where(slot < self._capacity, slot, -1))

    def _keep(self, rows: int) -> np.ndarray:
        return np.sort(self._rng.choice(len(self), rows, replace=False))
