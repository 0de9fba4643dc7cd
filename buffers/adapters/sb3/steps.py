"""Rows of several steps, made of what Stable-Baselines3 hands to `add`."""

from collections.abc import Mapping

import numpy as np

from buffers import NStep


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
        self._led_to = np.zeros(0)  # the states that the steps going on led to

    @property
    def n(self) -> int:
        """Steps per row."""
        return self._n_step.n

    def push(self, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Takes a step of every environment, returns the rows it finishes; see `NStep.push`."""
        here = rows["state"][self._going_on]
        if len(here) and not np.array_equal(here, self._led_to):
            self._n_step.reset()
        self._going_on = ~(rows["done"] | rows["truncated"])
        self._led_to = rows["next_state"][self._going_on].copy()
        return self._n_step.push(rows)[0]

    def reset(self) -> None:
        """Drops what is not finished."""
        self._n_step.reset()
        self._going_on[:] = False
