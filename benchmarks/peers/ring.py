"""A replay buffer as a script has it: one array per column, the oldest row is overwritten."""

import numpy as np


class Ring:
    """The last `capacity` transitions.

    Args:
        capacity: Rows.
        obs_size: Numbers in an observation.
        rng: Draws the rows of a sample.
        action: Dtype of an action; JAX knows no 64 bits.
    """

    def __init__(
        self, capacity: int, obs_size: int, rng: np.random.Generator, action: type = np.int64
    ) -> None:
        self.columns = (
            np.zeros((capacity, obs_size), np.float32),
            np.zeros(capacity, action),
            np.zeros(capacity, np.float32),
            np.zeros((capacity, obs_size), np.float32),
            np.zeros(capacity, np.float32),
        )
        self.capacity, self.rows, self._next, self._rng = capacity, 0, 0, rng

    def add(self, *row: object) -> None:
        """State, action, reward, next state, whether it was the last one."""
        for column, value in zip(self.columns, row, strict=True):
            column[self._next] = value
        self._next = (self._next + 1) % self.capacity
        self.rows = min(self.rows + 1, self.capacity)

    def sample(self, n: int) -> tuple[np.ndarray, ...]:
        """`n` rows, drawn uniformly with replacement."""
        drawn = self._rng.integers(self.rows, size=n)
        return tuple(column[drawn] for column in self.columns)

    def zeros(self, n: int) -> tuple[np.ndarray, ...]:
        """What a sample of `n` rows looks like."""
        return tuple(np.zeros_like(column[:n]) for column in self.columns)
