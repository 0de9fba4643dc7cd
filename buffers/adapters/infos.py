"""What infos say of rows: the task, and whatever else a memory has a column for, but episodes.

A host without a notion of tasks passes infos through, so task identity travels there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from buffers.columns import REQUIRED, Column
from buffers.episodes import EPISODE_MARKS

KNOWN = {*REQUIRED, "truncated", *EPISODE_MARKS}  # of every step, whatever its info says

Infos = Sequence[Mapping[str, Any]] | Mapping[str, Any] | None


def columns_in(infos: Infos, columns: Mapping[str, Column]) -> dict[str, np.ndarray]:
    """Return those columns that the infos of n rows give, as arrays [n, *shape].

    The columns that every step has anyway are not looked for, nor are `episode` and `last`:
    Gymnasium's and Stable-Baselines3's monitors put statistics of their own under `episode`. A row
    whose info lacks what another row's has gets the column's fill.

    Args:
        infos: a dict per row; or, as from Gymnasium's vector environments, a dict of arrays in
            which `_name` masks the rows that have `name`; or None.
        columns: those of the memory.
    """
    wanted = {name: column for name, column in columns.items() if name not in KNOWN}
    return {name: values for name, values in _found(infos or {}, wanted)}


def timeouts(infos: Infos, n: int) -> np.ndarray:
    """Return which of `n` rows were truncated, bool [n], where infos say `TimeLimit.truncated`."""
    name = "TimeLimit.truncated"
    if not infos or isinstance(infos, Mapping):
        found = dict(_found(infos or {}, {name: Column((), np.bool_)}))
        truncated: np.ndarray = found.get(name, np.zeros(n, bool)).astype(bool)
        return truncated
    return np.array([bool(info.get(name)) for info in infos])


def _found(
    infos: Mapping[str, Any] | Sequence[Mapping[str, Any]], columns: Mapping[str, Column]
) -> list[tuple[str, np.ndarray]]:
    if isinstance(infos, Mapping):
        return [(k, _of_arrays(infos, k, c)) for k, c in columns.items() if k in infos]
    given = [(k, c) for k, c in columns.items() if any(k in info for info in infos)]
    return [(k, np.stack([info.get(k, _blank(c)) for info in infos])) for k, c in given]


def _of_arrays(infos: Mapping[str, Any], name: str, column: Column) -> np.ndarray:
    values = np.asarray(infos[name])
    there = np.asarray(infos.get(f"_{name}", np.ones(len(values), bool)))
    blank = np.broadcast_to(_blank(column).astype(values.dtype), values.shape)
    return np.where(there.reshape(-1, *(1,) * (values.ndim - 1)), values, blank)


def _blank(column: Column) -> np.ndarray:
    return np.full(column.shape, column.fill, column.dtype)
