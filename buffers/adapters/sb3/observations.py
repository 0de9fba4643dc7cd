"""How observations of a Gymnasium space lie in the columns of a memory."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from buffers.columns import Column
from buffers.names import check_known

Frames = int | Mapping[str, int]
ObservationColumns = Column | dict[str, Column]


def observation_columns(shape: Any, space: Any, frames: Frames = 0) -> ObservationColumns:
    """The column of an observation, in its own dtype; one for each key where it is a dictionary.

    Args:
        shape: What `stable_baselines3.common.preprocessing.get_obs_shape` says of the space.
        space: A Gymnasium space that Stable-Baselines3 supports.
        frames: Of how many frames an observation consists along its first axis, each distinct one
            to be stored once; of a dictionary, by key. 0: stored as it is.

    Raises:
        ValueError: `frames` does not fit the observations.
    """
    if not isinstance(shape, dict):
        if isinstance(frames, Mapping):
            raise ValueError(f"frames={dict(frames)}: observations have no keys, give a number")
        return _column(shape, space, frames)
    if not isinstance(frames, Mapping):
        if frames:
            raise ValueError(f"frames={frames}: which of {sorted(shape)}? give {{key: {frames}}}")
        frames = {}
    for key in frames:
        check_known("key of frames", key, shape)
    return {key: _column(shape[key], space[key], frames.get(key, 0)) for key in shape}


def _column(shape: tuple[int, ...], space: Any, frames: int) -> Column:
    if frames and len(shape) == 3 and shape[-1] % frames == 0 and shape[-1] < min(shape[:-1]):
        raise ValueError(
            f"frames={frames}: observations {list(shape)} have theirs along the last axis, "
            "expected along the first; put a VecTransposeImage around the environment"
        )
    return Column(shape, space.dtype, frames=frames)


def packed(obs: Any, columns: ObservationColumns, n: int) -> Any:
    """Observations of n environments in the shapes of their columns, [n, *shape]."""
    if isinstance(columns, Column):
        return np.asarray(obs).reshape(n, *columns.shape)
    return {k: np.asarray(obs[k]).reshape(n, *column.shape) for k, column in columns.items()}
