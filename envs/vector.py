"""Many copies of one task, stepped together, restored exactly on resume."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from envs.backends import Vectorization
from envs.spaces import SharedSpace
from envs.task import Task

FEW = 40  # values that are summed sooner in Python than in NumPy
NO_REWARD = np.empty(0, np.float32)


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
        vectorization: What steps the copies; episodes are the same, bit by bit, but for EnvPool,
            which seeds a copy's first episode only and so cannot be restored.

    Attributes:
        obs: What the agent sees now, `[num_envs, *space.shape]`.

    Raises:
        ValueError: The task cannot be stepped so.
    """

    def __init__(
        self,
        task: Task,
        space: SharedSpace,
        seed: Callable[[int, int], int],
        num_envs: int,
        task_index: int = 0,
        vectorization: Vectorization = "auto",
    ) -> None:
        self.task, self.space, self.num_envs, self.task_index = task, space, num_envs, task_index
        self.backend = task.backend(num_envs, vectorization)
        self._seed = seed
        self._envs = task.make_vec(num_envs, self.backend)
        self._first_action = space.first_action[task_index]
        self._episode = np.zeros(num_envs, np.int64)
        self._played = bytearray()  # `_actions`, which may be many: an episode may never end
        self._began = np.zeros(num_envs, np.int64)  # where in these each running episode did
        self.obs = self._reset(np.ones(num_envs, bool), self._episode)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Steps every copy; episodes that end are followed by new ones in `obs`.

        Args:
            action: Index of each copy's action, `[num_envs]`.

        Returns:
            next_obs `[num_envs, *shape]` (true final observations), reward float32, terminated and
            truncated bool, each `[num_envs]`. A step that is both counts as terminated.

        Raises:
            NonFiniteData: The state that `state_dict` gives is then the one before the step.
            WorkerCrash: The same; the copies can only be closed.
        """
        raw, reward, terminated, truncated, _ = self._envs.step(action + self._first_action)
        next_obs = self._encode(raw)
        reward = reward.astype(np.float32)
        self._check(next_obs, reward)
        ended = terminated | truncated
        if not any(ended.tolist()):
            self._remember(action)
            self.obs = next_obs
            return next_obs, reward, terminated, truncated
        episode = self._episode + ended
        self.obs = self._restart(ended, episode, next_obs)
        self._remember(action)
        self._forget(ended)
        self._episode = episode
        return next_obs, reward, terminated, truncated & ~terminated

    def close(self) -> None:
        """Closes the environments."""
        self._envs.close()

    def state_dict(self) -> dict[str, Any]:
        """The running episodes: which they are, and the actions taken in them."""
        played = self._actions()
        actions = np.zeros(played.shape[::-1], np.int32)
        for env, began in enumerate(self._began):
            actions[env, : len(played) - began] = played[began:, env]
        return {
            "episode": self._episode.copy(),
            "length": len(played) - self._began,
            "actions": actions,
            "obs": self.obs.copy(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Plays the running episodes again up to where they were.

        Raises:
            ValueError: An environment did not do the same again, so it cannot be resumed exactly.
        """
        if self.backend == "envpool":
            raise ValueError(
                f"EnvPool cannot seed single episodes, so a run of {self.task.name} cannot be "
                "resumed within a stage: remove the checkpoints after the last switch"
            )
        self._episode, actions = state["episode"].copy(), state["actions"]
        self._began = actions.shape[1] - state["length"]
        played = np.zeros(actions.shape[::-1], np.int32)
        for env, began in enumerate(self._began):
            played[began:, env] = actions[env, : len(played) - began]
        self._played = bytearray(played.tobytes())
        self.obs = self._replay()
        self._check_same(np.array_equal(self.obs, state["obs"]))

    def _check_same(self, same: bool) -> None:
        if not same:
            raise ValueError(
                f"{self.task.name} is not determined by its seed and actions: "
                "a run of it cannot be resumed exactly"
            )

    def _replay(self) -> np.ndarray:
        """What every copy shows after its own actions.

        All copies step together, so the shorter an episode is, the later it begins; until then
        its copy plays anything.
        """
        obs = self._reset(np.ones(self.num_envs, bool), self._episode)
        for step, action in enumerate(self._actions(), 1):
            raw, _, terminated, truncated, _ = self._envs.step(action + self._first_action)
            obs, ended = self._encode(raw), terminated | truncated
            self._check_same(not (ended & (self._began < step)).any())
            begins = (self._began == step) | ((self._began > step) & ended)
            obs = self._restart(begins, self._episode, obs)
        return obs

    def _restart(self, wanted: np.ndarray, episode: np.ndarray, obs: np.ndarray) -> np.ndarray:
        """`obs`, with the first observation of a new episode where one is wanted."""
        if not wanted.any():
            return obs
        fresh = wanted.reshape(-1, *[1] * len(self.space.shape))
        return np.where(fresh, self._reset(wanted, episode), obs)

    def _reset(self, wanted: np.ndarray, episode: np.ndarray) -> np.ndarray:
        """Begins the given episodes of the wanted copies; the others' observations are void."""
        seeds: Any = [None] * self.num_envs  # VectorEnv's annotation does not know lists
        for env in np.flatnonzero(wanted).tolist():
            seeds[env] = self._seed(env, int(episode[env]))
        raw, _ = self._envs.reset(seed=seeds, options={"reset_mask": wanted})
        obs = self._encode(raw)
        self._check(obs[wanted])
        return obs

    def _check(self, obs: np.ndarray, reward: np.ndarray = NO_REWARD) -> None:
        # A sum tells in most cases; it may be infinite though no value is.
        if obs.size <= FEW and math.isfinite(sum(obs.ravel().tolist(), sum(reward.tolist()))):
            return
        for what, values in (("an observation", obs), ("a reward", reward)):
            if values.dtype.kind == "f" and not _all_finite(values):
                raise NonFiniteData(f"{self.task.name} gave {what} that is NaN or infinite")

    def _actions(self) -> np.ndarray:
        """Actions since the oldest running episode began, int32 `[steps, num_envs]`."""
        return np.frombuffer(bytes(self._played), np.int32).reshape(-1, self.num_envs)

    def _remember(self, action: np.ndarray) -> None:
        self._played += action.astype(np.int32).tobytes()

    def _forget(self, ended: np.ndarray) -> None:
        """Drops the actions that were before every running episode, as some ended."""
        step = 4 * self.num_envs  # bytes
        self._began[ended] = len(self._played) // step
        if oldest := int(self._began.min()):
            del self._played[: oldest * step]
            self._began -= oldest

    def _encode(self, raw: Any) -> np.ndarray:
        return self.space.encode(self.task_index, raw, self.num_envs)


def _all_finite(values: np.ndarray) -> bool:
    return math.isfinite(np.vdot(values, values)) or bool(np.isfinite(values).all())
