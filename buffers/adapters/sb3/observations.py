"""How observations of a Gymnasium space lie in one column of a memory, and come out of it again."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from buffers.columns import Column

Shapes = Mapping[str, tuple[int, ...]]


class ArrayRows:
    """Observations that are one array: stored as they are.

    Args:
        shape: of one observation, as Stable-Baselines3 stores it.
        dtype: of the space.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.column = Column(shape, dtype)

    def pack(self, obs: Any, n: int) -> np.ndarray:
        """Observations [n, ...] as a column [n, *shape]."""
        return np.asarray(obs).reshape(n, *self.column.shape)

    def unpack(self, rows: np.ndarray) -> np.ndarray:
        """The observations of a column [n, *shape]."""
        return rows


class DictRows:
    """Observations that are a dictionary of arrays: laid end to end in one row, exactly.

    If all have one dtype, a row is of that dtype; if not, it is their bytes, so that an image costs
    no more than in a column of its own. What measures distances between states (coverage,
    coresets) means little on bytes.

    Args:
        shapes: of each key, as Stable-Baselines3 stores it.
        dtypes: of each key.
    """

    def __init__(self, shapes: Shapes, dtypes: Mapping[str, np.dtype]) -> None:
        self._shapes = dict(shapes)
        self._dtypes = {key: np.dtype(dtypes[key]) for key in shapes}
        kinds = set(self._dtypes.values())
        self._dtype = kinds.pop() if len(kinds) == 1 else np.dtype(np.uint8)
        sizes = [
            int(np.prod(shape)) * self._dtypes[key].itemsize // self._dtype.itemsize
            for key, shape in self._shapes.items()
        ]
        self._edges = np.cumsum(sizes)[:-1]
        self.column = Column((sum(sizes),), self._dtype)

    def pack(self, obs: Mapping[str, Any], n: int) -> np.ndarray:
        """Observations, [n, ...] under each key, as a column [n, size].

        Raises:
            ValueError: values of a key are of another dtype, or NaN or infinite.
        """
        parts = [self._checked(key, np.asarray(obs[key])).reshape(n, -1) for key in self._shapes]
        return np.concatenate([part.view(self._dtype) for part in parts], axis=1)

    def _checked(self, key: str, values: np.ndarray) -> np.ndarray:
        dtype = self._dtypes[key]
        if not np.can_cast(values.dtype, dtype, "same_kind"):
            raise ValueError(f"observation {key!r}: expected {dtype}, given {values.dtype}")
        if dtype.kind == "f" and not np.isfinite(values).all():  # bytes would not show it
            raise ValueError(f"observation {key!r}: expected finite {dtype}, given NaN or infinity")
        return np.ascontiguousarray(values, dtype)

    def unpack(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The observations of a column [n, size]."""
        parts = zip(self._shapes.items(), np.split(rows, self._edges, axis=1), strict=True)
        return {
            key: np.ascontiguousarray(part).view(self._dtypes[key]).reshape(-1, *shape)
            for (key, shape), part in parts
        }


def observation_rows(shape: Any, space: Any) -> ArrayRows | DictRows:
    """How observations of a space are stored.

    Args:
        shape: what `stable_baselines3.common.preprocessing.get_obs_shape` says of it.
        space: a Gymnasium space that Stable-Baselines3 supports.
    """
    if not isinstance(shape, dict):
        return ArrayRows(shape, space.dtype)
    return DictRows(shape, {key: space[key].dtype for key in shape})
