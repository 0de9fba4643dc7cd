"""Many copies of one task, stepped together, restored exactly on resume."""

from collections.abc import Callable
from typing import Any

import numpy as np

from envs.spaces import SharedSpace
from envs.task import Task


class NonFiniteData(ArithmeticError):
    """An environment gave an observation or a reward that is NaN or infinite."""


class TaskEnvs:
    """`num_envs` copies of a task whose every episode is seeded on its own.

    A Gymnasium environment has no way to save its state, and pickling loses it silently for
    EzPickle environments (LunarLander, MuJoCo). An episode, however, is a function of its seed and
    its actions. So the state is the running episodes' seeds and actions: small, safe, and right
    for every environment that keeps Gymnasium's promise that a seed determines an episode.

    Environments are reset explicitly, so no step of a vector environment is a mere reset: every
    row that `step` returns is a real transition, and `next_obs` is the true last observation also
    where an episode was truncated.

    Args:
        task: What to make.
        space: The shared space that observations are encoded in.
        seed: Gives the seed of an episode: `seed(env, episode)`, both counted from 0.
        num_envs: How many copies.
        task_index: The task's place in `space`.

    Attributes:
        obs: What the agent sees now, `[num_envs, *space.shape]`.
    """

    def __init__(
        self,
        task: Task,
        space: SharedSpace,
        seed: Callable[[int, int], int],
        num_envs: int,
        task_index: int = 0,
    ) -> None:
        self.task, self.space, self.num_envs, self.task_index = task, space, num_envs, task_index
        self._seed = seed
        self._envs = task.make_vec(num_envs)
        self._episode = np.zeros(num_envs, np.int64)
        self._length = np.zeros(num_envs, np.int64)
        self._actions = np.zeros((num_envs, 512), np.int32)
        raw, _ = self._envs.reset(seed=self._seeds(np.ones(self.num_envs, bool)))
        self.obs = self._encode(raw)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Steps every copy; episodes that end are followed by new ones in `obs`.

        Args:
            action: Index of each copy's action, `[num_envs]`.

        Returns:
            next_obs `[num_envs, *shape]` (true final observations), reward float32, terminated and
            truncated bool, each `[num_envs]`. A step that is both counts as terminated.

        Raises:
            NonFiniteData: The state that `state_dict` gives is then the one before the step.
        """
        native = action + self.space.first_action[self.task_index]
        raw, reward, terminated, truncated, _ = self._envs.step(native)
        next_obs = self._encode(raw)
        self._check(next_obs, reward)
        self._remember(action)
        self.obs = self._restart(terminated | truncated, next_obs)
        return next_obs, reward.astype(np.float32), terminated.copy(), truncated & ~terminated

    def close(self) -> None:
        """Closes the environments."""
        self._envs.close()

    def state_dict(self) -> dict[str, Any]:
        """The running episodes: which they are, and the actions taken in them."""
        used = int(self._length.max())
        return {
            "episode": self._episode.copy(),
            "length": self._length.copy(),
            "actions": self._actions[:, :used].copy(),
            "obs": self.obs.copy(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Plays the running episodes again up to where they were.

        Raises:
            ValueError: An environment did not do the same again, so it cannot be resumed exactly.
        """
        self._episode = state["episode"].copy()
        self._length = state["length"].copy()
        actions = state["actions"]
        self._actions = np.zeros((self.num_envs, max(512, 2 * actions.shape[1])), np.int32)
        self._actions[:, : actions.shape[1]] = actions
        raw, _ = self._envs.reset(seed=self._seeds(np.ones(self.num_envs, bool)))
        self.obs = self._encode(raw)
        for env in range(self.num_envs):
            self._replay(env, actions[env, : self._length[env]])
        if not np.array_equal(self.obs, state["obs"]):
            raise ValueError(
                f"{self.task.name} is not determined by its seed and actions: "
                "a run of it cannot be resumed exactly"
            )

    def _replay(self, env: int, actions: np.ndarray) -> None:
        single = self._envs.envs[env]  # type: ignore[attr-defined]
        for action in actions + self.space.first_action[self.task_index]:
            raw, *_ = single.step(action)
        if len(actions):
            self.obs[env] = self.space.encode_one(self.task_index, raw)

    def _restart(self, ended: np.ndarray, next_obs: np.ndarray) -> np.ndarray:
        if not ended.any():
            return next_obs
        self._episode[ended] += 1
        self._length[ended] = 0
        raw, _ = self._envs.reset(seed=self._seeds(ended), options={"reset_mask": ended})
        fresh = ended.reshape(-1, *[1] * len(self.space.shape))
        return np.where(fresh, self._encode(raw), next_obs)

    def _check(self, obs: np.ndarray, reward: np.ndarray) -> None:
        for name, values in (("a reward", reward), ("an observation", obs)):
            if not np.isfinite(values).all():
                raise NonFiniteData(f"{self.task.name} gave {name} that is NaN or infinite")

    def _remember(self, action: np.ndarray) -> None:
        if self._length.max() == self._actions.shape[1]:
            self._actions = np.concatenate([self._actions, np.zeros_like(self._actions)], axis=1)
        self._actions[np.arange(self.num_envs), self._length] = action
        self._length += 1

    def _seeds(self, wanted: np.ndarray) -> Any:
        numbered = enumerate(zip(wanted, self._episode, strict=True))
        return [
            self._seed(env, int(episode)) if want else None for env, (want, episode) in numbered
        ]

    def _encode(self, raw: Any) -> np.ndarray:
        return self.space.encode(self.task_index, raw, self.num_envs)
