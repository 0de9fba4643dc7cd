"""Rows of episodes that have not ended yet, outside of any buffer's capacity."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from buffers.columns import Column
from buffers.rows import Rows
from buffers.saved import check_array
from buffers.storage import Storage

PREFIX = "running_"  # of the keys of a saved state


class RunningEpisodes:
    """Rows that wait until the episode they belong to ends.

    Args:
        columns: name -> Column.

    Attributes:
        storage: the rows; grows as is needed.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self.storage = Storage(columns, 16)
        self.clear()

    def clear(self) -> None:
        """Drop all rows."""
        self._free = list(range(len(self.storage)))
        self._slots: dict[int, list[int] | None] = {}  # by episode; None: it grew too long

    def __len__(self) -> int:
        return len(self.storage) - len(self._free)

    @property
    def nbytes(self) -> int:
        """Bytes of the rows; not of the room for more, which depends on what was before."""
        row = self.storage.layout.stored.row_bytes + self.storage.born.itemsize
        return len(self) * row

    def column(self, name: str) -> np.ndarray:
        """Copy a column of all rows, episode by episode."""
        in_use = self._in_use()
        if self.storage.layout.columns[name].frames:
            frames: np.ndarray = self.storage.take(in_use)[name]
            return frames
        return self.storage.data[name][in_use]

    def _in_use(self) -> np.ndarray:
        slots = [slot for own in self._slots.values() for slot in own or []]
        return np.array(slots, np.int64)

    def put(self, rows: Rows, seen: int) -> np.ndarray:
        """Store a batch of rows, born from `seen` on; return their slots."""
        slots = self._claim(rows.n)
        self.storage.put(slots, rows, seen)
        return slots

    def number(self, slots: np.ndarray, born: np.ndarray) -> None:
        """Say which rows of the stream those in `slots` are."""
        self.storage.count_to(int(born.max(initial=0)) + 1)
        self.storage.born[slots] = born

    def _claim(self, n: int) -> np.ndarray:
        """Take `n` free slots."""
        if n > len(self._free):
            old, new = len(self.storage), 2 * len(self.storage) + n
            self.storage.grow(new)
            self._free += range(old, new)
        slots = np.array(self._free[len(self._free) - n :], np.int64)
        del self._free[len(self._free) - n :]
        return slots

    def append(self, episode: int, slot: int, longest: int) -> None:
        """Let a row be the newest of an episode, which is dropped if longer than `longest`."""
        own = self._slots.setdefault(episode, [])
        if own is None:
            self._free.append(slot)
            return
        own.append(slot)
        if len(own) > longest:
            self._free += own
            self._slots[episode] = None

    def end(self, episode: int) -> np.ndarray | None:
        """End an episode: its slots, read them before the next `put`; None if it was too long."""
        own = self._slots.pop(episode)
        self._free += own or []
        return None if own is None else np.array(own, np.int64)

    def save(self) -> dict[str, Any]:
        """Copy all rows, episode by episode, into a flat dict."""
        lengths = [-1 if own is None else len(own) for own in self._slots.values()]
        rows = self.storage.save(self._in_use())
        return {f"{PREFIX}{name}": values for name, values in rows.items()} | {
            f"{PREFIX}episodes": np.array(list(self._slots), np.int64),
            f"{PREFIX}lengths": np.array(lengths, np.int64),
        }

    def check(self, state: Mapping[str, Any]) -> None:
        """Raise ValueError unless `state` holds what `save` gives."""
        episodes = np.size(state[f"{PREFIX}episodes"])
        for name in ("episodes", "lengths"):
            check_array(state, f"{PREFIX}{name}", (episodes,), np.dtype(np.int64))
        numbers, lengths = state[f"{PREFIX}episodes"], state[f"{PREFIX}lengths"]
        if len(np.unique(numbers)) < episodes or (lengths < -1).any() or (lengths == 0).any():
            raise ValueError("state of running episodes: expected unlike numbers, lengths from 1")
        rows = self._rows_of(state)
        self.storage.check(rows, int(lengths.clip(0).sum()))

    def load(self, state: Mapping[str, Any]) -> None:
        """Become what was saved and checked."""
        rows = self._rows_of(state)
        self.clear()
        slots = self._claim(len(rows["born"]))
        self.storage.count_to(int(rows["born"].max(initial=0)) + 1)
        self.storage.load(slots, rows)
        numbers, lengths = state[f"{PREFIX}episodes"].tolist(), state[f"{PREFIX}lengths"]
        parts = np.split(slots, lengths.clip(0).cumsum())
        for number, length, part in zip(numbers, lengths.tolist(), parts, strict=False):
            self._slots[number] = None if length < 0 else part.tolist()

    def _rows_of(self, state: Mapping[str, Any]) -> dict[str, Any]:
        names = self.storage.keys()
        return {name: state[f"{PREFIX}{name}"] for name in names}
