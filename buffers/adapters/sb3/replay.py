"""Any memory as a `replay_buffer_class` of Stable-Baselines3."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from buffers import Column, Memory
from buffers.adapters.infos import timeouts
from buffers.adapters.sb3.observations import Frames, observation_columns, packed
from buffers.adapters.sb3.options import maker, refuse
from buffers.adapters.sb3.samples import MemorySamples
from buffers.adapters.sb3.steps import Steps
from buffers.columns import make_columns, needs_of
from buffers.episodes import episode_marks
from buffers.intake import Intake
from buffers.layout import Layout

UNTOLD = 100  # samples that a memory may wait for TD errors


class MemoryReplayBuffer(ReplayBuffer):
    """A memory of this library behind SB3's interface.

    The task of a step is `infos["task"]` (int) where environments give it. When all environments
    are in another task than before, the memory is told that the last one ended. Where they give
    none, it is `task`, which counts the calls of `end_task`.

    Deviations from SB3's buffer: rows are drawn with a generator of the memory's own, not NumPy's
    global one. With `n_steps`, rows are finished before they are stored, so the newest steps of a
    running episode wait, and VecNormalize clips the normalised sum of rewards, not each reward.

    Args:
        buffer_size: Steps it can hold, of all environments together: the memory's `capacity`.
        observation_space: Of the environments. Each key of a Dict has a column of its own in the
            memory, `state.KEY`, in its own dtype.
        action_space: Of the environments.
        device: Where samples go.
        n_envs: Environments that step together.
        optimize_memory_usage: Must be False: chosen rows have no neighbour to share a state with.
        handle_timeout_termination: Whether time limits are no terminations, so that the learner
            bootstraps from them.
        memory: A key of `buffers.BUFFERS`, or what makes a memory: `memory(capacity, state=...,
            action=..., extra=..., seed=..., **options)`. SB3 saves buffers with pickle, which takes
            no lambda here or among the options.
        n_steps: Steps of reward per row; SB3 does not pass its own `n_steps` to a custom class.
        gamma: Discount of these sums, to be that of the algorithm; needed for `n_steps` above 1.
        frames: Of how many frames an observation consists, such as the `n_stack` of a
            VecFrameStack; in a Dict by key, `{"image": 4}`. Each distinct frame is then stored
            once: a stack of 4 images and the next one take about one image, not eight.
        seed: Whence the memory's draws follow; by default the algorithm's own seed.
        options: Further arguments of the memory, such as `rows_per_task`.

    A memory that learns from TD errors warns where an algorithm reports none: see `with_feedback`.

    Attributes:
        memory: The memory itself: `model.replay_buffer.memory.describe()`.
        task: Task of steps whose `infos` name none.
        drawn: Index and weight of the rows drawn last; None before.

    Raises:
        ValueError: An unknown memory, `n_steps` without `gamma`, `optimize_memory_usage`, or
            arguments of SB3's HER buffer.
    """

    drawn: tuple[np.ndarray, np.ndarray] | None = None
    _untold = 0  # samples drawn before any TD error was told

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
        *,
        memory: str | Callable[..., Memory] = "hybrid",
        n_steps: int = 1,
        gamma: float | None = None,
        frames: Frames = 0,
        seed: int | np.random.Generator | None = None,
        **options: Any,
    ) -> None:
        refuse(optimize_memory_usage, n_steps > 1 and gamma is None, options)
        # Not ReplayBuffer's own constructor: it would allocate arrays that nobody uses.
        super(ReplayBuffer, self).__init__(
            buffer_size, observation_space, action_space, device, n_envs
        )
        self.buffer_size = max(buffer_size // n_envs, 1)  # in steps of all environments, as SB3's
        self.optimize_memory_usage = False
        self.handle_timeout_termination = handle_timeout_termination
        self.task = 0
        self._here: int | None = None  # the task that all environments are in
        self._state = observation_columns(self.obs_shape, observation_space, frames)
        self._action = self._action_column()
        self._make, self._options = maker(memory), options
        self._needs = needs_of(self._make, options.get("kind"))
        columns = make_columns(self._state, self._action, self._needs)
        self._intake = Intake(Layout(columns))
        self._steps = Steps(n_steps, 1.0 if gamma is None else gamma, n_envs)
        # Spawning leaves the space's own random numbers as they are.
        self.memory = self._empty(action_space.np_random.spawn(1)[0] if seed is None else seed)

    def _action_column(self) -> Column:
        single = isinstance(self.action_space, spaces.Discrete)
        dtype = np.dtype(self._maybe_cast_dtype(self.action_space.dtype))
        return Column(() if single else (self.action_dim,), dtype)

    def _empty(self, seed: int | np.random.Generator) -> Memory:
        options = dict(self._options)
        discount = {"discount": Column((), np.float32, 1.0)} if self.n_steps > 1 else {}
        return self._make(
            self.buffer_size * self.n_envs,
            state=self._state,
            action=self._action,
            extra={**self._needs, **discount, **(options.pop("extra", None) or {})},
            seed=seed,
            **options,
        )

    @property
    def n_steps(self) -> int:
        """Steps of reward per row."""
        return self._steps.n

    def size(self) -> int:
        """Steps of all environments that it holds: transitions / n_envs."""
        return len(self.memory) // self.n_envs

    def add(
        self,
        obs: Any,
        next_obs: Any,
        action: np.ndarray,
        reward: np.ndarray,
        done: np.ndarray,
        infos: Sequence[Mapping[str, Any]],
    ) -> None:
        """Offers one step of all environments; all is copied.

        Raises:
            ValueError: as of `Buffer.add`; the memory then stays as it was.
        """
        n = self.n_envs
        ended = np.asarray(done, bool)
        timeout = timeouts(infos, n) & self.handle_timeout_termination
        tasks = [info.get("task", self.task) for info in infos]
        known = self._here is not None and tasks == [self._here] * n  # so it fits
        rows: Mapping[str, Any] = {
            "state": packed(obs, self._state, n),
            "action": np.asarray(action).reshape(n, *self._action.shape),
            "reward": reward,
            "next_state": packed(next_obs, self._state, n),
            "done": ended & ~timeout,
            "truncated": timeout,
            "task": np.array(tasks, np.int32 if known else None),
            **(episode_marks(ended, self._needs) if self._needs else {}),
        }
        if self.n_steps > 1 or not known:
            rows = self._intake.checked(rows)  # before anything takes note of them
            self._notice(rows["task"])
        if self.n_steps > 1:
            rows = self._steps.push(rows)
        if len(rows["task"]):
            self.memory.add(rows)
        self.pos += 1
        self.full |= self.pos == self.buffer_size
        self.pos %= self.buffer_size

    def _notice(self, task: np.ndarray) -> None:
        """Tells the memory when all environments have gone on to another task."""
        if (task != task[0]).any() or task[0] == self._here:
            return
        if self._here is not None:
            self._end()
        self._here = int(task[0])

    def end_task(self) -> None:
        """Takes note that the current task ends here; steps that name no task are of the next."""
        self._end()
        self._here = None
        self.task += 1

    def _end(self) -> None:
        self.memory.end_task()
        self._steps.reset()

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> MemorySamples:  # type: ignore[override]
        """Draws rows, normalised by `env` if given.

        Raises:
            ValueError: there is nothing to draw yet.
        """
        data, index, weight = self.memory.sample(batch_size)
        self.drawn = index, weight
        self._untold += 1
        if self._untold == UNTOLD:
            self._ask_for_feedback()
        return self._tensors(data, index, weight, env)

    def _ask_for_feedback(self) -> None:
        """Warns where the memory needs TD errors, which SB3's own training steps keep silent."""
        if self.memory.needs_feedback:
            warnings.warn(
                "the memory was told of no TD error, so that what it keeps and draws does not "
                "heed them: train with with_feedback(...) of buffers.adapters.sb3",
                stacklevel=3,
            )

    def _get_samples(self, batch_inds: np.ndarray, env: VecNormalize | None = None) -> Any:
        """The rows at these indices of the memory."""
        ones = np.ones(len(batch_inds), np.float32)
        return self._tensors(self.memory.read(batch_inds), batch_inds, ones, env)

    def _tensors(
        self,
        data: Mapping[str, np.ndarray],
        index: np.ndarray,
        weight: np.ndarray,
        env: VecNormalize | None,
    ) -> MemorySamples:
        reward = self._normalize_reward(data["reward"][:, None], env)
        discount = self._tensor(data["discount"][:, None]) if self.n_steps > 1 else None
        return MemorySamples(
            self._observations(data["state"], env),
            self._tensor(data["action"].reshape(-1, self.action_dim)),
            self._observations(data["next_state"], env),
            self._tensor(data["done"][:, None].astype(np.float32)),
            self._tensor(reward),
            discount,
            self._tensor(weight[:, None]),
            index,
        )

    def _observations(self, rows: Any, env: VecNormalize | None) -> Any:
        obs = self._normalize_obs(rows, env)
        if isinstance(obs, dict):
            return {key: self._tensor(values) for key, values in obs.items()}
        return self._tensor(obs)

    def _tensor(self, values: np.ndarray) -> Tensor:
        # A copy already, but perhaps one with gaps, on which matrix products give other bits.
        return self.to_torch(np.ascontiguousarray(values), copy=False)

    def feedback(self, index: np.ndarray, td_error: np.ndarray) -> None:
        """Tells the memory how wrong the learner was on the rows at `index`."""
        self._untold = UNTOLD
        self.memory.feedback(index, td_error)

    def reset(self) -> None:
        """Drops all rows."""
        super().reset()
        self.memory.clear()
        self._steps.reset()

    def __getstate__(self) -> dict[str, Any]:
        """All of it; of the memory only what is filled."""
        return self.__dict__ | {"memory": self.memory.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state | {"memory": None}
        self.memory = self._empty(seed=0)
        self.memory.load_state_dict(state["memory"])
