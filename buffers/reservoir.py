"""A uniform sample of everything that was ever offered (Vitter, 1985, algorithm R)."""

import numpy as np

from buffers.buffer import Buffer
from buffers.rows import Rows
from buffers.storage import last_writes


class ReservoirBuffer(Buffer):
    """Keeps `capacity` rows of the stream, each row offered with the same probability.

    Row i of the stream (from 0) goes to a slot drawn uniformly from 0 to i, and is dropped if there
    is no such slot: algorithm R. The rows drawn are uniform over those stored.
    """

    def _admit(self, rows: Rows) -> np.ndarray:
        if rows.n == 1:
            return self._admit_one()
        # One draw per row, in the order of the rows: a batch draws what its rows would one by one.
        drawn = self._rng.random(rows.n)
        drawn *= np.arange(self._added + 1.0, self._added + rows.n + 1)
        if (filling := min(self._capacity - self._added, rows.n)) > 0:
            drawn[:filling] = np.arange(self._added, self._added + filling)
        kept = (drawn < self._capacity).nonzero()[0]
        slots = nowhere(rows.n)
        slots[kept] = last_writes(drawn[kept].astype(np.int64))
        return slots

    def _admit_one(self) -> np.ndarray:
        """The same for a single row, in a quarter of the time."""
        slot = int(self._rng.random() * (self._added + 1))
        if self._added < self._capacity:
            slot = self._added
        return np.array([slot if slot < self._capacity else -1])

    def _keep(self, rows: int) -> np.ndarray:
        return np.sort(self._rng.choice(len(self), rows, replace=False))


def nowhere(rows: int) -> np.ndarray:
    """No slot, -1, for each of `rows` rows."""
    slots = np.empty(rows, np.int64)
    slots.fill(-1)  # half the time of np.full
    return slots
