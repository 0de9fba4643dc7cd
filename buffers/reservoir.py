"""A uniform sample of everything that was ever offered (Vitter, 1985, algorithm R)."""

import numpy as np

from buffers.buffer import Buffer, uniform
from buffers.rows import Rows
from buffers.storage import last_writes


class ReservoirBuffer(Buffer):
    """Keeps `capacity` rows of the stream, each row offered with the same probability.

    Row i of the stream (from 0) goes to a slot drawn uniformly from 0 to i, and is dropped if there
    is no such slot: algorithm R. The rows drawn are uniform over those stored.
    """

    def _admit(self, rows: Rows) -> np.ndarray:
        order = np.arange(self._added, self._added + rows.n)
        # One draw per row, in the order of the rows: a batch draws what its rows would one by one.
        slots = uniform(self._rng, order + 1, rows.n)
        filling = max(self._capacity - self._added, 0)
        slots[:filling] = order[:filling]
        slots[slots >= self._capacity] = -1
        return last_writes(slots)

    def _keep(self, rows: int) -> np.ndarray:
        return np.sort(self._rng.choice(len(self), rows, replace=False))
