"""One episode of each of many copies of a task, to evaluate with."""

from collections.abc import Sequence
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from envs.spaces import SharedSpace
from envs.task import Task


class Episodes(Protocol):
    """Plays one episode of each of some copies of a task, again and again."""

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Begins an episode of each seed: what they show, `[copies, *shape]`."""

    def step(self, action: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, ...]:
        """Steps the active copies.

        Args:
            action: Index of each copy's action, `[copies]`.
            active: Which copies' episodes have not ended, bool `[copies]`.

        Returns:
            obs `[copies, *shape]`, reward and whether the episode ended, each `[copies]`; what
            they say of copies that are not active means nothing.
        """

    def close(self) -> None:
        """Closes the environments."""


def make_episodes(task: Task, space: SharedSpace, index: int, native: bool) -> Episodes:
    """Native environments if wanted and there are such, single ones otherwise.

    Both give the same numbers, bit by bit.

    Args:
        task: What to play.
        space: The shared space.
        index: The task's place in it.
        native: Whether native ones are wanted.
    """
    if native and task.has_native:
        return NativeEpisodes(task, space, index)
    return SingleEpisodes(task, space, index)


class SingleEpisodes:
    """Environments stepped one by one, each only until its episode ends."""

    def __init__(self, task: Task, space: SharedSpace, index: int) -> None:
        self._task, self._space, self._index = task, space, index
        self._envs: list[gym.Env[Any, Any]] = []

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """See `Episodes`."""
        while len(self._envs) < len(seeds):
            self._envs.append(self._task.make_env())
        first = [env.reset(seed=seed)[0] for env, seed in zip(self._envs, seeds, strict=False)]
        self._obs = np.stack([self._space.encode_one(self._index, each) for each in first])
        return self._obs.copy()

    def step(self, action: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, ...]:
        """See `Episodes`."""
        reward, ended = np.zeros(len(active)), np.zeros(len(active), bool)
        action = action + self._space.first_action[self._index]
        for i in np.flatnonzero(active):
            each, reward[i], terminated, truncated, _ = self._envs[i].step(action[i])
            self._obs[i] = self._space.encode_one(self._index, each)
            ended[i] = terminated or truncated
        return self._obs.copy(), reward, ended

    def close(self) -> None:
        """See `Episodes`."""
        for env in self._envs:
            env.close()


class NativeEpisodes:
    """Native vector environments, whose autoreset keeps copies going that have ended."""

    def __init__(self, task: Task, space: SharedSpace, index: int) -> None:
        self._task, self._space, self._index = task, space, index
        self._by_size: dict[int, VectorEnv[Any, Any, Any]] = {}

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """See `Episodes`."""
        if len(seeds) not in self._by_size:
            self._by_size[len(seeds)] = self._task.make_native(len(seeds))
        self._envs = self._by_size[len(seeds)]
        return self._encode(self._envs.reset(seed=list(seeds))[0])  # type: ignore[arg-type]

    def step(self, action: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, ...]:
        """See `Episodes`."""
        action = action + self._space.first_action[self._index]
        obs, reward, terminated, truncated, _ = self._envs.step(action)
        return self._encode(obs), reward, terminated | truncated

    def close(self) -> None:
        """See `Episodes`."""
        for envs in self._by_size.values():
            envs.close()

    def _encode(self, obs: Any) -> np.ndarray:
        return self._space.encode(self._index, obs, self._envs.num_envs)
