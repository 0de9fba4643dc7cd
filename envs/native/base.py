"""What all native environments share: seeds, time limits and resets."""

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.utils import maybe_parse_reset_bounds
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

NEVER = np.iinfo(np.int64).max
TRUE = np.True_.tobytes()  # is found among bytes in a third of the time of counting


class NativeVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Many copies of one environment, stepped by array arithmetic.

    Step by step it does what `SyncVectorEnv` does with copies of the single environment: every
    copy has a random generator of its own, seeded by `reset`; `options={"reset_mask": mask}`
    resets some copies only, and `low` and `high` bound their first states. Arrays that were given
    out are never changed.

    Args:
        num_envs: How many copies.
        max_episode_steps: An episode of this length is truncated; None: never.
        autoreset_mode: NEXT_STEP (Gymnasium's default: the step after an episode's last one only
            resets) or DISABLED (whoever steps the copies resets them).
        physics: What `world` takes; one of it is asked for spaces and parameters.

    Raises:
        ValueError: A number that cannot be, or SAME_STEP, which is not offered.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012
    world: ClassVar[type[gym.Env[Any, Any]]]
    """The single environment's class, which takes the physics."""
    pays_from: ClassVar[int] = 1
    """From how many copies on this is faster than single environments one after the other."""
    first_state: tuple[float, float]
    """Bounds of an episode's first state, where `reset` is given none."""

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **physics: Any,
    ) -> None:
        single = self.world(**physics)
        mode = AutoresetMode(autoreset_mode)
        if mode is AutoresetMode.SAME_STEP:
            raise ValueError("autoreset_mode must be NEXT_STEP or DISABLED, not SAME_STEP")
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        self.single, self.num_envs = single, num_envs
        self.metadata = self.metadata | {"autoreset_mode": mode}
        self.single_observation_space = single.observation_space
        self.single_action_space = single.action_space
        self.observation_space = batch_space(single.observation_space, num_envs)
        self.action_space = batch_space(single.action_space, num_envs)
        # Arrays, as numbers beside arrays take NumPy three times as long where copies are few.
        self._one = np.ones(num_envs, np.int64)
        self._limit = self._one * (NEVER if max_episode_steps is None else max_episode_steps)
        self._rngs = [np.random.default_rng() for _ in range(num_envs)]
        self._steps = np.zeros(num_envs, np.int64)
        self._ended = np.ones(num_envs, bool)  # or not yet begun
        self._is_reset = False
        self._obs = np.zeros(self.observation_space.shape or (), np.float32)
        self._state = np.zeros((0, num_envs))  # a row of each variable, float64
        self._prepare()

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins new episodes.

        Args:
            seed: One seed per copy, or the first copy's (the others' count upwards), or None to
                go on with the copies' generators.
            options: `reset_mask` (bool `[num_envs]`), `low`, `high`.

        Returns:
            Observations `[num_envs, size]`, those of the other copies as they were; and `{}`.

        Raises:
            ValueError: Seeds or a mask of another length, or bounds in the wrong order.
        """
        options = dict(options or {})
        wanted = self._wanted(options.pop("reset_mask", None))
        seeds = self._seeds(seed)
        bounds = maybe_parse_reset_bounds(options, *self.first_state)
        for copy in np.flatnonzero(wanted).tolist():
            if seeds[copy] is not None:
                # What gymnasium.utils.seeding.np_random makes of a seed, in half the time.
                self._rngs[copy] = np.random.Generator(np.random.PCG64(seeds[copy]))
        self._begin(wanted, *bounds)
        self._ended = self._ended & ~wanted
        self._is_reset = True
        return self._obs, {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Steps every copy.

        Args:
            actions: `[num_envs]`.

        Returns:
            Observations float32 `[num_envs, size]`; rewards float64, terminated and truncated
            bool, each `[num_envs]`; and `{}`.

        Raises:
            ValueError: There are not as many actions as copies. Nothing was stepped.
            gymnasium.error.ResetNeeded: Before the first reset; and after an episode's end where
                autoreset is disabled. Nothing was stepped.
        """
        if np.shape(actions) != (self.num_envs,):
            raise ValueError(f"expected {self.num_envs} actions, given shape {np.shape(actions)}")
        over = self._ended if TRUE in self._ended.tobytes() else None
        if over is not None and not self._resets_itself:
            raise gym.error.ResetNeeded(f"reset the copies {np.flatnonzero(over).tolist()} first")
        reward, terminated = self._advance(actions)
        self._steps = self._steps + self._one
        truncated = self._steps >= self._limit
        self._obs = self._show(self._state)
        if over is not None:
            self._begin(over, *self.first_state)
            reward[over], terminated[over], truncated[over] = 0.0, False, False
        self._ended = terminated | truncated
        return self._obs, reward, terminated, truncated, {}

    @property  # type: ignore[misc]  # of many copies, as SyncVectorEnv has it
    def np_random(self) -> Any:
        """The copies' generators."""
        return tuple(self._rngs)

    def _prepare(self) -> None:
        """Gives `_state` its rows, and makes what every step needs of the physics."""
        raise NotImplementedError

    def _draw(self, rng: np.random.Generator, low: float, high: float) -> np.ndarray:
        """The first state of an episode, `[variables]`."""
        raise NotImplementedError

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Moves `_state` by one step: (reward, terminated)."""
        raise NotImplementedError

    def _show(self, state: np.ndarray) -> np.ndarray:
        """Observations float32 `[n, size]` of states `[variables, n]`."""
        return state.T.astype(np.float32, order="C")

    @property
    def _resets_itself(self) -> bool:
        return self._is_reset and self.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP

    def _begin(self, wanted: np.ndarray, low: float, high: float) -> None:
        copies = np.flatnonzero(wanted).tolist()
        first = np.array([self._draw(self._rngs[copy], low, high) for copy in copies]).T
        self._state[:, wanted] = first
        self._obs = self._obs.copy()
        self._obs[wanted] = self._show(first)
        self._steps[wanted] = 0

    def _wanted(self, mask: Any) -> np.ndarray:
        if mask is None:
            return np.ones(self.num_envs, bool)
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != bool or not mask.any():
            raise ValueError(
                f"reset_mask must be {self.num_envs} booleans, one of them True at least"
            )
        return mask

    def _seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int | np.integer):
            return range(int(seed), int(seed) + self.num_envs)
        if len(seed) != self.num_envs:
            raise ValueError(f"there must be {self.num_envs} seeds, got {len(seed)}")
        return seed


def bounded(values: np.ndarray, low: Any, high: Any) -> np.ndarray:
    """`np.clip`, in a fifth of its time for few values."""
    return np.minimum(np.maximum(values, low), high)
