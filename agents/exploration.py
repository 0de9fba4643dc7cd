"""Exploration: random actions, kept up for a while."""

from typing import Any

import numpy as np


class Exploration:
    """Epsilon-greedy, with exploratory actions that last (epsilon-z-greedy).

    Each environment decides for itself. An exploratory action is repeated for z steps, z drawn from
    P(z) ~ z**-mu (Dabney et al. 2021, arXiv 2006.01782, section 4: mu = 2); the episode's end ends
    it. Deviation: z is at most `longest`. With `longest` 1 this is epsilon-greedy.

    Args:
        num_envs: Environments of each member.
        rngs: One generator per member; a member draws the same numbers alone and among others.
        longest: Most steps that an exploratory action lasts.

    Attributes:
        exploring: Where the last choice was exploratory, bool `[members, envs]`.
    """

    def __init__(self, num_envs: int, rngs: list[np.random.Generator], longest: int) -> None:
        self._rngs, self._longest = rngs, longest
        self._left = np.zeros((len(rngs), num_envs), np.int64)
        self._action = np.zeros((len(rngs), num_envs), np.int64)
        self.exploring = np.zeros((len(rngs), num_envs), bool)

    def choose(
        self, greedy: np.ndarray, epsilon: float, num_actions: int, lasting: bool = True
    ) -> np.ndarray:
        """Replaces some greedy actions by exploratory ones, `[members, envs]`.

        Args:
            greedy: Each environment's best action.
            epsilon: Chance that an environment not exploring starts to.
            num_actions: Actions of the task; the first ones are its own.
            lasting: Whether exploratory actions that start now last; False is epsilon-greedy.
        """
        shape = greedy.shape[1]
        draws = [(r.random(shape), r.integers(num_actions, size=shape)) for r in self._rngs]
        start = (np.stack([u for u, _ in draws]) < epsilon) & (self._left == 0)
        self._action = np.where(start, np.stack([a for _, a in draws]), self._action)
        length = np.ones_like(self._left)
        if lasting and self._longest > 1:
            drawn = np.stack([r.zipf(2.0, shape) for r in self._rngs])
            length = np.minimum(drawn, self._longest)
        self._left = np.where(start, length, self._left)
        self.exploring = self._left > 0
        self._left -= self.exploring
        return np.where(self.exploring, self._action, greedy)

    def end_episodes(self, ended: np.ndarray) -> None:
        """Stops exploratory actions where an episode ended, bool `[members, envs]`."""
        self._left[ended] = 0

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on exactly."""
        rngs = [rng.bit_generator.state for rng in self._rngs]
        return {"left": self._left.copy(), "action": self._action.copy(), "rngs": rngs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self._left, self._action = state["left"].copy(), state["action"].copy()
        for rng, saved in zip(self._rngs, state["rngs"], strict=True):
            rng.bit_generator.state = saved
