"""Columns that consist of frames: rows hold numbers in place of them; see `frame_pool`."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from buffers.frame_pool import FramePool
from buffers.layout import Layout, Records
from buffers.saved import check_array

Columns = Mapping[str, np.ndarray]  # numbers [slots, frames] by column: all that are in use


class Frames:
    """The frames of a storage: a pool for all those of one size.

    Args:
        layout: of rows outside of the storage, whose columns `layout.apart` consist of frames.
        make: what makes the pool of frames of so many bytes.
    """

    def __init__(self, layout: Layout, make: Callable[[int], FramePool] = FramePool) -> None:
        plain = len(layout.structs) - len(layout.apart)
        sizes = {
            name: struct.itemsize // layout.columns[name].frames
            for name, struct in zip(layout.apart, layout.structs[plain:], strict=True)
        }
        self._pools = {size: make(size) for size in sorted(set(sizes.values()))}
        self._pool_of = {name: self._pools[size] for name, size in sizes.items()}
        self._pool_of_record = [*[None] * plain, *self._pool_of.values()]

    @property
    def nbytes(self) -> int:
        """Bytes of all pools."""
        return sum(pool.nbytes for pool in self._pools.values())

    def numbers(self, columns: Columns, used: Columns, *more: Columns) -> dict[str, np.ndarray]:
        """Numbers of the frames in those columns that have some, [n, frames]; stores new ones.

        Args:
            columns: of the rows.
            used: numbers of all rows in slots.
            more: further numbers in use.
        """
        own = [name for name in self._pool_of if name in columns]
        numbers = {k: np.zeros((len(columns[k]), used[k].shape[1]), np.uint32) for k in own}
        for name, found in numbers.items():
            pool = self._pool_of[name]
            in_use = [n for columns in (used, *more, numbers) for n in self._in_pool(pool, columns)]
            pool.store(_flat(columns[name], pool), found.reshape(-1), in_use)
        return numbers

    def reserve(self, rows: int, given: Columns | None, used: Columns, *more: Columns) -> None:
        """Have room for the frames of so many rows.

        Args:
            rows: how many.
            given: their columns; None: as if no two of their frames were alike.
            used: numbers of all rows in slots.
            more: further numbers in use.
        """
        for pool, names in self._by_pool(self._pool_of):
            frames = rows * sum(used[name].shape[1] for name in names)
            if given is not None:
                frames = min(frames, pool.distinct(*(_flat(given[k], pool) for k in names)))
            in_use = [n for columns in (used, *more) for n in self._in_pool(pool, columns)]
            pool.reserve(frames, in_use)

    def take(self, stored: Records, slots: np.ndarray, targets: Records) -> None:
        """Copy the rows in `slots`, with their frames, into the records `targets`."""
        for raw, target, pool in zip(stored, targets, self._pool_of_record, strict=True):
            if pool is None:
                raw.take(slots, out=target, mode="clip")
            else:
                pool.take(raw.take(slots).view(np.uint32), target.view(pool.dtype))

    def empty(self, slots: np.ndarray, used: Columns) -> None:
        """Let the slots refer to no frame but the one of zeros."""
        for name in self._pool_of:
            used[name][slots] = 0

    def take_up(self, used: Columns) -> None:
        """Go on with pools that have frames already: those of these numbers are in use."""
        for pool in self._pools.values():
            pool.take_up(self._in_pool(pool, used))

    def describe(self, slots: np.ndarray, used: Columns) -> dict[str, int]:
        """Say how many frames the rows in `slots` have, and what storing each once is worth."""
        rows = {name: used[name][slots] for name in self._pool_of}
        by_pool = [np.concatenate(self._in_pool(pool, rows)) for pool in self._pools.values()]
        in_rows = sum(rows[k].size * (p.dtype.itemsize - 4) for k, p in self._pool_of.items())
        return {
            "referred": sum(numbers.size for numbers in rows.values()),
            "distinct": sum(len(np.unique(numbers)) for numbers in by_pool),
            "bytes": self.nbytes,
            "saved": in_rows - self.nbytes,
        }

    def _by_pool(self, names: Collection[str]) -> list[tuple[FramePool, list[str]]]:
        """Each pool with those of the columns whose frames it has, if any."""
        pairs = [
            (pool, [name for name in names if self._pool_of.get(name) is pool])
            for pool in self._pools.values()
        ]
        return [(pool, own) for pool, own in pairs if own]

    def _in_pool(self, pool: FramePool, numbers: Columns) -> list[np.ndarray]:
        return [n.reshape(-1) for name, n in numbers.items() if self._pool_of.get(name) is pool]

    def keys(self) -> list[str]:
        """Return the keys that `save` adds to those of the columns."""
        return [f"frames.{size}" for size in self._pools]

    def save(self, slots: np.ndarray, used: Columns) -> dict[str, np.ndarray]:
        """Copy the frames of the rows in `slots`, and their numbers among these by column.

        Frames are numbered as they appear, so that equal rows make equal states.
        """
        state = {}
        for pool, names in self._by_pool(used):
            columns = [used[name][slots].reshape(-1) for name in names]
            every = np.concatenate(columns)
            _, first, which = np.unique(every, return_index=True, return_inverse=True)
            order = np.argsort(first)
            renumbered = np.argsort(order).astype(np.uint32)[which]
            frames = np.empty(len(order), pool.dtype)
            pool.take(every[first[order]], frames)
            state[f"frames.{pool.dtype.itemsize}"] = _bytes(frames)
            for name, part in zip(names, _parts(renumbered, columns), strict=True):
                state[f"column.{name}"] = part.reshape(len(slots), used[name].shape[1])
        return state

    def check(self, state: Mapping[str, Any]) -> None:
        """Raise ValueError unless `state` has every frame that its checked columns speak of."""
        for pool, names in self._by_pool(self._pool_of):
            size = pool.dtype.itemsize
            given = state[f"frames.{size}"]
            count = given.shape[0] if isinstance(given, np.ndarray) and given.ndim else 0
            check_array(state, f"frames.{size}", (count, size), np.dtype(np.uint8))
            for name in names:
                numbers = state[f"column.{name}"]
                if numbers.size and numbers.max() >= count:
                    raise ValueError(
                        f"state 'column.{name}': expected numbers of {count} frames, "
                        f"given {numbers.max()}"
                    )

    def load(self, state: Mapping[str, Any], used: Columns) -> dict[str, np.ndarray]:
        """Store the frames of `state`; return their numbers by column."""
        loaded: dict[str, np.ndarray] = {}
        for pool, names in self._by_pool(used):
            frames = np.ascontiguousarray(state[f"frames.{pool.dtype.itemsize}"])
            numbers = np.zeros(len(frames), np.uint32)
            in_use = [numbers, *self._in_pool(pool, used)]
            pool.store(frames.reshape(-1).view(pool.dtype), numbers, in_use)
            loaded |= {name: numbers[state[f"column.{name}"]] for name in names}
        return loaded


def _parts(values: np.ndarray, like: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Cut an array where those that it was joined from meet."""
    return np.split(values, np.cumsum([len(part) for part in like[:-1]], dtype=int))


def _bytes(frames: np.ndarray) -> np.ndarray:
    return frames.view(np.uint8).reshape(len(frames), frames.dtype.itemsize)


def _flat(column: np.ndarray, pool: FramePool) -> np.ndarray:
    """The frames of a column, one after the other, as the pool takes them."""
    return np.ascontiguousarray(column).reshape(-1).view(pool.dtype)
