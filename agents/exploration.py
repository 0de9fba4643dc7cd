"""Exploration: random actions, kept up for a while."""

from typing import Any

import numpy as np

AHEAD = 64  # steps whose random numbers are drawn at once


class Exploration:
    """Epsilon-greedy, with exploratory actions that last (epsilon-z-greedy).

    Each environment decides for itself. An exploratory action is repeated for z steps, z drawn from
    P(z) ~ z**-mu (Dabney et al. 2021, arXiv 2006.01782, section 4: mu = 2); the episode's end ends
    it. Deviation: z is at most `longest`. With `longest` 1 this is epsilon-greedy.

    Args:
        num_envs: Environments of each member.
        rngs: One generator per member, which nobody else draws from; a member draws the same
            numbers alone and among others.
        longest: Most steps that an exploratory action lasts.

    Attributes:
        exploring: Where the last choice was exploratory, bool `[members, envs]`.
    """

    def __init__(self, num_envs: int, rngs: list[np.random.Generator], longest: int) -> None:
        self._rngs, self._longest = rngs, longest
        shape = (len(rngs), num_envs)
        self._left = np.zeros(shape, np.int64)
        self._action = np.zeros(shape, np.int64)
        self._nobody, self._everybody = np.zeros(shape, bool), np.ones(shape, bool)
        self._nobody.flags.writeable = self._everybody.flags.writeable = False
        self.exploring = self._nobody
        self._starts, self._actions = np.empty((2, AHEAD, *shape))
        self._lengths = np.ones((AHEAD, *shape), np.int64)
        self._lowest = self._highest = [0.0] * AHEAD  # of each of these steps' `_starts`
        self._choices, self._indices = 0, self._lengths  # `_actions` as indices of so many
        self._next = AHEAD  # of the steps drawn ahead, the first not used
        self._before = self._states()  # of the generators, before these were drawn

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
        if self._next == AHEAD:
            self._draw()
        now, self._next = self._next, self._next + 1
        if not np.count_nonzero(self._left):
            if self._lowest[now] >= epsilon:
                self.exploring = self._nobody
                return greedy
            if self._longest == 1 or not lasting:
                return self._choose_once(now, greedy, epsilon, num_actions)
        start = (self._starts[now] < epsilon) & (self._left == 0)
        if np.count_nonzero(start):
            self._action = np.where(start, self._drawn(now, num_actions), self._action)
            self._left = np.where(start, self._lengths[now] if lasting else 1, self._left)
        self.exploring = self._left > 0
        self._left -= self.exploring
        return np.where(self.exploring, self._action, greedy)

    def _choose_once(
        self, now: int, greedy: np.ndarray, epsilon: float, num_actions: int
    ) -> np.ndarray:
        """What `choose` does where no exploratory action lasts, in fewer calls."""
        drawn = self._drawn(now, num_actions)
        if self._highest[now] < epsilon:
            self.exploring = self._everybody
            return drawn
        self.exploring = self._starts[now] < epsilon
        return np.where(self.exploring, drawn, greedy)

    def _drawn(self, now: int, num_actions: int) -> np.ndarray:
        """The actions drawn for a step, should it explore: for all steps ahead at once."""
        if num_actions != self._choices:
            self._choices = num_actions
            self._indices = (self._actions * num_actions).astype(np.int64)
        drawn: np.ndarray = self._indices[now]
        return drawn

    def end_episodes(self, ended: np.ndarray) -> None:
        """Stops exploratory actions where an episode ended, bool `[members, envs]`."""
        self._left[ended] = 0

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on exactly."""
        own = {"left": self._left.copy(), "action": self._action.copy(), "next": self._next}
        return own | {"rngs": self._states() if self._next == AHEAD else self._before}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self._left, self._action = state["left"].copy(), state["action"].copy()
        for rng, saved in zip(self._rngs, state["rngs"], strict=True):
            rng.bit_generator.state = saved
        if state["next"] < AHEAD:
            self._draw()
        self._next = state["next"]

    def _draw(self) -> None:
        """Draws for the steps ahead: whether each starts to explore, how, and for how long."""
        self._before, self._next, self._choices = self._states(), 0, 0
        envs = self._left.shape[1]
        for member, rng in enumerate(self._rngs):
            self._starts[:, member] = rng.random((AHEAD, envs))
            self._actions[:, member] = rng.random((AHEAD, envs))
            if self._longest > 1:
                drawn = rng.zipf(2.0, (AHEAD, envs))
                self._lengths[:, member] = np.minimum(drawn, self._longest)
        self._lowest = self._starts.min((1, 2)).tolist()
        self._highest = self._starts.max((1, 2)).tolist()

    def _states(self) -> list[Any]:
        return [rng.bit_generator.state for rng in self._rngs]
