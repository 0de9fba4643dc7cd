"""Small environments whose observations tell what happened to them; none knows `render_mode`."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from envs import Task

LONG = 10_000


class Clock(gym.Env):
    """Shows [seed, steps since the reset, last action as the environment saw it].

    Args:
        ends: The episode terminates after this many steps, plus its seed modulo `spread`.
        spread: How many different lengths there are.
        start: The first action's own number.
        broken: `{(seed, step): what}` puts NaN or infinity into the "obs" or the "reward".
        fickle: Whether the last entry depends on all that happened before the reset.
    """

    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)

    def __init__(
        self,
        ends: int = LONG,
        spread: int = 1,
        start: int = 0,
        broken: dict[tuple[int, int], tuple[str, float]] | None = None,
        fickle: bool = False,
    ) -> None:
        self.action_space = spaces.Discrete(3, start=start)
        self.ends, self.spread, self.broken, self.fickle = ends, spread, broken or {}, fickle
        self.lifetime = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed, self.step_number = seed, 0
        return self._show(-1), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.step_number += 1
        self.lifetime += 1
        terminated = self.step_number >= self.ends + self.seed % self.spread
        what, value = self.broken.get((self.seed, self.step_number), ("", 0.0))
        reward = value if what == "reward" else 0.5 * self.step_number
        return self._show(self.lifetime if self.fickle else action), reward, terminated, False, {}

    def _show(self, last: float) -> np.ndarray:
        what, value = self.broken.get((self.seed, self.step_number), ("", 0.0))
        obs = np.array([self.seed, self.step_number, last], np.float32)
        return obs + value if what == "obs" else obs


class Shows(gym.Env):
    """Shows random elements of a space; two actions, or those of another space."""

    def __init__(
        self,
        space: spaces.Space[Any],
        actions: spaces.Space[Any] | None = None,
    ) -> None:
        self.observation_space = space
        self.action_space = actions or spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


gym.register("test/Clock-v0", Clock)
gym.register("test/ClockLimited-v0", Clock, max_episode_steps=5)
gym.register("test/Shows-v0", Shows)
gym.register("test/Versions-v1", Clock)
gym.register("test/Versions-v3", Clock)
gym.register("test/Versions-v10", Clock)
gym.register("test/Unversioned", Clock)


@pytest.fixture
def shows():
    """A task that shows the given space."""

    def make(space: spaces.Space[Any], actions: spaces.Space[Any] | None = None) -> Task:
        return Task("shows", "test/Shows-v0", kwargs={"space": space, "actions": actions})

    return make
