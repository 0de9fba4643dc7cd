"""One space for unlike environments: observations are padded, missing actions are masked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from envs.errors import one_line
from envs.task import Task

SUPPORTED = "Box, Discrete, MultiBinary, MultiDiscrete, and Dict or Tuple of these"
Encoder = Callable[[Any, int], np.ndarray]


@dataclass(frozen=True)
class SharedSpace:
    """What one agent sees of all tasks.

    Attributes:
        shape: Shape of every observation: `[size]` for vectors, `[channels, height, width]` for
            images; tasks with smaller observations are padded with zeros.
        dtype: uint8 where every task shows uint8 or boolean images, float32 otherwise.
        valid: Which actions a task has, bool `[tasks, actions]`.
        first_action: What is added to an action's index before the environment sees it, `[tasks]`.
        scale: What an image's values are divided by (255 for uint8 pixels), 1 for vectors,
            `[tasks]`.
        encoders: One function per task: a batch of n native observations -> `[n, *shape]`.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    valid: np.ndarray
    first_action: np.ndarray
    scale: np.ndarray
    encoders: tuple[Encoder, ...]

    @property
    def num_actions(self) -> int:
        """The largest number of actions of any task."""
        return self.valid.shape[1]

    @property
    def is_image(self) -> bool:
        """Whether observations are images."""
        return len(self.shape) == 3

    def encode(self, task: int, obs: Any, num_envs: int) -> np.ndarray:
        """A batch of a task's own observations in the shared space, `[num_envs, *shape]`."""
        shape = (num_envs, *self.shape)
        given = type(obs) is np.ndarray and (obs.ndim, obs.dtype, obs.shape)
        if given == (2, np.float32, shape):
            return obs.copy()  # vectors as they should be
        native = self.encoders[task](obs, num_envs)
        if native.shape == shape:
            return native.astype(self.dtype)  # a copy: the environments' own may be rewritten
        shared = np.zeros(shape, self.dtype)
        shared[tuple(slice(size) for size in native.shape)] = native
        return shared

    def encode_one(self, task: int, obs: Any) -> np.ndarray:
        """One observation in the shared space, `[*shape]`."""
        return self.encode(task, _batch_of_one(obs), 1)[0]

    @staticmethod
    def of(tasks: Sequence[Task]) -> "SharedSpace":
        """The space that these tasks share.

        Raises:
            ValueError: A space that is not supported, or images together with vectors.
        """
        pairs = [_spaces_of(task) for task in tasks]
        shapes = [_shape(obs) for obs, _ in pairs]
        if len({len(shape) for shape in shapes}) > 1:
            listed = ", ".join(f"{t.name} {s}" for t, s in zip(tasks, shapes, strict=True))
            raise ValueError(f"images and vectors cannot share one agent: {listed}")
        counts = np.array([int(action.n) for _, action in pairs])
        is_bytes = all(
            len(s) == 3 and o.dtype in (np.uint8, bool)
            for (o, _), s in zip(pairs, shapes, strict=True)
        )
        return SharedSpace(
            shape=tuple(int(size) for size in np.max(shapes, axis=0)),
            dtype=np.dtype(np.uint8 if is_bytes else np.float32),
            valid=np.arange(counts.max()) < counts[:, None],
            first_action=np.array([int(action.start) for _, action in pairs]),
            scale=np.array([_scale(obs) for obs, _ in pairs], np.float32),
            encoders=tuple(_encoder(obs) for obs, _ in pairs),
        )


def _spaces_of(task: Task) -> tuple[spaces.Space[Any], spaces.Discrete]:
    """The task's two spaces, if an agent of ours can act in them."""
    try:
        env = task.make_env()
    except (gym.error.DependencyNotInstalled, ImportError) as error:
        raise ValueError(f"{task.name} {_install_hint(task, error)}") from None
    env.close()
    if not isinstance(env.action_space, spaces.Discrete):
        raise ValueError(
            f"{task.name} has the action space {env.action_space}: only Discrete is supported"
        )
    if not _is_supported(env.observation_space):
        raise ValueError(
            f"{task.name} has the observation space {env.observation_space}: "
            f"supported are {SUPPORTED}"
        )
    return env.observation_space, env.action_space


def _install_hint(task: Task, error: Exception) -> str:
    entry = str(gym.spec(task.env_id).entry_point)
    if "box2d" in entry:
        return "needs Box2D: pip install 'retain-rl[box2d]'"
    return f"cannot be made: {one_line(error)}"


def _is_supported(space: spaces.Space[Any]) -> bool:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = space.values() if isinstance(space, spaces.Dict) else space
        return all(_is_supported(part) for part in parts)
    return isinstance(
        space, spaces.Box | spaces.Discrete | spaces.MultiBinary | spaces.MultiDiscrete
    )


def _is_image(space: spaces.Space[Any]) -> bool:
    return isinstance(space, spaces.Box) and len(space.shape) == 3


def _channels_last(space: spaces.Space[Any]) -> bool:
    return space.shape is not None and space.shape[2] <= space.shape[0]


def _shape(space: spaces.Space[Any]) -> tuple[int, ...]:
    if not _is_image(space):
        return (int(spaces.flatdim(space)),)
    shape = space.shape or ()
    return (shape[2], shape[0], shape[1]) if _channels_last(space) else shape


def _scale(space: spaces.Space[Any]) -> float:
    if not _is_image(space):
        return 1.0
    high = float(np.max(space.high)) if isinstance(space, spaces.Box) else 1.0
    return high if np.isfinite(high) and high > 0 else 1.0


def _encoder(space: spaces.Space[Any]) -> Encoder:
    """Turns n stacked observations of `space` into vectors [n, size] or images [n, c, h, w]."""
    if _is_image(space):
        order = (0, 3, 1, 2) if _channels_last(space) else (0, 1, 2, 3)
        return lambda obs, num_envs: np.asarray(obs).transpose(order)
    return lambda obs, num_envs: _flatten(space, obs, num_envs)


def _flatten(space: spaces.Space[Any], obs: Any, n: int) -> np.ndarray:
    """Like gymnasium.spaces.flatten, for n observations at once: float32 [n, size]."""
    match space:
        case spaces.Dict():
            parts = [_flatten(part, obs[key], n) for key, part in space.items()]
            return np.concatenate(parts, axis=1)
        case spaces.Tuple():
            parts = [_flatten(part, each, n) for part, each in zip(space, obs, strict=True)]
            return np.concatenate(parts, axis=1)
        case spaces.Discrete():
            return _one_hot(np.asarray(obs) - int(space.start), int(space.n))
        case spaces.MultiDiscrete():
            digits = (np.asarray(obs) - space.start).reshape(n, -1)
            sizes = space.nvec.reshape(-1)
            hot = [_one_hot(digits[:, i], int(k)) for i, k in enumerate(sizes)]
            return np.concatenate(hot, axis=1)
    return np.asarray(obs, np.float32).reshape(n, -1)


def _one_hot(index: np.ndarray, size: int) -> np.ndarray:
    return (index[:, None] == np.arange(size)).astype(np.float32)


def _batch_of_one(obs: Any) -> Any:
    """One observation as a batch, also inside dictionaries and tuples."""
    if isinstance(obs, dict):
        return {key: _batch_of_one(value) for key, value in obs.items()}
    if isinstance(obs, tuple):
        return tuple(_batch_of_one(value) for value in obs)
    return np.asarray(obs)[None]
