"""Rows of several steps, made of what Stable-Baselines3 hands to `add`."""

from collections.abc import Mapping

import numpy as np

from buffers import NStep
from buffers.nested import root


class Steps:
    """`NStep`, for environments that are reset without a word.

    Every call of `learn` may reset them in mid-episode. That shows in a step that does not start
    where the one before it led; rows that are not finished are dropped then.

    Args:
        n: steps per row.
        discount: factor per step.
        num_envs: environments that step together.
    """

    def __init__(self, n: int, discount: float, num_envs: int) -> None:
        self._n_step = NStep(n, discount, num_envs)
        self._going_on = np.zeros(num_envs, bool)
        self._led_to: dict[str, np.ndarray] = {}  # by column, states that steps going on led to

    @property
    def n(self) -> int:
        """Steps per row."""
        return self._n_step.n

    def push(self, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Takes a step of every environment, returns the rows it finishes; see `NStep.push`."""
        here = {k: rows[k][self._going_on] for k in rows if root(k) == "state"}
        same = (np.array_equal(self._led_to.get(k, v), v) for k, v in here.items())
        if self._going_on.any() and not all(same):
            self._n_step.reset()
        self._going_on = ~(rows["done"] | rows["truncated"])
        self._led_to = {k: rows[f"next_{k}"][self._going_on].copy() for k in here}
        return self._n_step.push(rows)[0]

    def reset(self) -> None:
        """Drops what is not finished."""
        self._n_step.reset()
        self._going_on[:] = False
