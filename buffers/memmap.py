"""Rows in files: more than memory holds, and still there when the program was killed.

Every change is complete or undone. Rows to be overwritten are copied first; then the new ones are
written; then the counters are committed, by one store of 8 bytes. Whoever opens the files after a
crash puts back what belongs to no commit. This holds when the process is killed, at any moment, as
the pages belong to the kernel; against a power cut only a file system that keeps writes in order
would help.
"""

import json
import os
import weakref
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from buffers.columns import Column
from buffers.frame_file import FilePool, frame_file, mapped
from buffers.frames import Frames
from buffers.layout import Layout
from buffers.memmap_folder import ABOUT, LOCK, check_about, locked, plain
from buffers.places import last_writes
from buffers.rows import Rows
from buffers.storage import Storage

VERSION = 1
HEAD_FILE = "head.bin"
SEQUENCE, SEEN, ADDED = range(3)  # of each of the two commits at the head, the newer one counts
TAG, UNSOUND, HEAD = 6, 7, 8
TAGS = 2**31  # commits are told apart modulo this


class MemmapStorage(Storage):
    """Rows in slots, each kind of record in a file of its own in the folder `path`.

    The space is reserved at once: writing to a mapped page that the disk has no room for would end
    the process. Needs `posix_fallocate`, as Linux has it. Ages take 8 bytes per row.

    Columns of frames have these in a file for each size, which grows with the distinct ones; an
    index of them, about 200 bytes each, is in memory, and is made anew when the folder is opened.

    Args:
        columns: name -> Column.
        slots: how many.
        path: the folder; made if there is none.
        kind: of buffer, which must be the same when the folder is opened again.

    Attributes:
        reopened: whether the folder was there.

    Raises:
        ValueError: the folder is of another kind, capacity or set of columns, in use, or was left
            while a state was loaded into it.
        OSError: no room on the disk; nothing is left behind then.
    """

    def __init__(
        self, columns: Mapping[str, Column], slots: int, path: str | os.PathLike[str], kind: str
    ) -> None:
        self.layout, self._folder = Layout(columns), Path(path)
        self._rearranged, self._whole, self._frames = False, None, None
        about = {"version": VERSION, "kind": kind, "capacity": slots, "columns": plain(columns)}
        self.reopened = (self._folder / ABOUT).exists()
        self._folder.mkdir(parents=True, exist_ok=True)
        weakref.finalize(self, os.close, locked(self._folder))
        if self.reopened:
            check_about(self._folder, about)
            self._check_files(slots)
            self._map(slots)
            self._recover()
            if self._frames:
                self._frames.take_up(self.data)
        else:
            self._make(slots, json.dumps(about, indent=1))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a memmap is not pickled: its rows are in files; use state_dict")

    @property
    def committed(self) -> tuple[int, int]:
        """Rows that the buffer had seen, and added since the last clear, at the last commit."""
        commit = self._head[:TAG].reshape(2, -1)[self._sequence % 2]
        return int(commit[SEEN]), int(commit[ADDED])

    def _check_files(self, slots: int) -> None:
        """Raise ValueError unless the files are sound, and as long as they should be."""
        if mapped(self._folder / HEAD_FILE, HEAD, 8).view(np.int64)[UNSOUND]:
            raise ValueError(
                f"{self._folder} was left in the middle of a load or with rows rearranged; "
                "use another folder and load a saved state"
            )
        for name, row in self._row_bytes().items():
            size, expected = (self._folder / name).stat().st_size, row * slots
            if size != expected:
                raise ValueError(f"{self._folder / name}: expected {expected} bytes, found {size}")

    def _make(self, slots: int, about: str) -> None:
        """Make all files, or none if there is no room for them."""
        names = (HEAD_FILE, *self._row_bytes(), *self._row_bytes("undo"), *self._frame_files())
        files, part = [self._folder / name for name in names], self._folder / "about.part"
        try:
            for file in files:
                file.write_bytes(b"")
            self._map(slots)
            part.write_text(about)
            part.replace(self._folder / ABOUT)  # it is there only if all others are, as a whole
        except OSError:
            for file in (*files, part, self._folder / LOCK):
                file.unlink(missing_ok=True)
            if not any(self._folder.iterdir()):
                self._folder.rmdir()
            raise

    def _row_bytes(self, what: str = "rows") -> dict[str, int]:
        """Bytes per row in each file of the rows, or of those that can be put back."""
        sizes = [struct.itemsize for struct in self.layout.stored.structs]
        records = {f"{what}{number}.bin": size for number, size in enumerate(sizes)}
        slots = {"undo_slots.bin": 8} if what == "undo" else {}
        return {**records, f"{what}_born.bin": 8, **slots}

    def _frame_files(self) -> list[str]:
        """Names of the files of frames."""
        columns = (self.layout.columns[name] for name in self.layout.apart)
        sizes = {np.dtype((c.dtype, c.shape)).itemsize // c.frames for c in columns}
        return [frame_file(size) for size in sorted(sizes)]

    def _map(self, slots: int) -> None:
        if self.layout.apart:
            self._frames = Frames(self.layout, partial(FilePool, self._folder))
        self._head = mapped(self._folder / HEAD_FILE, HEAD, 8).view(np.int64)
        self._sequence = int(max(self._head[:TAG:3]))
        self._map_rows(slots)
        self._map_undo(0)

    def _map_rows(self, slots: int) -> None:
        *records, born = (mapped(self._folder / k, slots, b) for k, b in self._row_bytes().items())
        self._hold(self.layout, tuple(records), born.view(np.int64))

    def _map_undo(self, rows: int) -> None:
        files = self._row_bytes("undo").items()
        *old, slots = (mapped(self._folder / name, rows, size) for name, size in files)
        self._old, self._old_slots = (*old[:-1], old[-1].view(np.int64)), slots.view(np.int64)

    def reserve(self, rows: int, given: Mapping[str, np.ndarray] | None = None) -> None:
        """Have room for so many rows: until the next commit no write of them is refused.

        Args:
            rows: how many at most.
            given: the rows that these are among, if known: frames that are alike need room once.

        Raises:
            OSError: the disk has none; nothing has changed then.
        """
        self._room_to_undo(self._copies_of(self._sequence + 1) + rows)
        if self._frames:
            self._frames.reserve(rows, given, self._all_data(), self._waiting())

    def commit(self, seen: int, added: int) -> None:
        """Make all changes since the last commit last."""
        self._sequence += 1
        commit = self._head[:TAG].reshape(2, -1)[self._sequence % 2]
        commit[SEEN], commit[ADDED] = seen, added
        commit[SEQUENCE] = self._sequence  # the one store that counts
        self._head[UNSOUND] = self._rearranged

    def _stored_frames(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Store frames, but not over those of rows that may yet be put back."""
        if not self._frames:
            return {}
        try:
            return self._frames.numbers(columns, self._all_data(), self._waiting())
        except OSError:  # no room for them: what was written since the last commit goes
            self._recover()
            raise

    def _waiting(self) -> dict[str, np.ndarray]:
        """Numbers of the frames of rows that may yet be put back."""
        undone = self.layout.stored.views(self._old[:-1])
        copies = self._copies_of(self._sequence + 1)
        return {name: undone[name][:copies] for name in self.layout.apart}

    def _room_to_undo(self, rows: int) -> None:
        if rows > len(self._old_slots):
            self._map_undo(2 * rows)

    def keep(self, slots: np.ndarray) -> None:
        """Take note that no row is in any other slot; undone if it is not committed."""
        if self._frames and not self._head[UNSOUND]:
            used = np.any([self.data[name].any(axis=1) for name in self.layout.apart], axis=0)
            used[slots] = False
            self._before_writing(np.flatnonzero(used))
        super().keep(slots)

    def put_each(self, pairs: Sequence[tuple[int, int]], rows: Rows, seen: int) -> None:
        """Write some rows to their slots, as `Storage.put_each`."""
        if not self._frames:
            self._before_writing(np.array([slot for _, slot in pairs]))
        super().put_each(pairs, rows, seen)

    def put_one(self, slot: int, rows: Rows, seen: int) -> None:
        """Write the one row there is to a slot, as `Storage.put_one`."""
        if not self._frames:
            self._before_writing(slice(slot, slot + 1))
        super().put_one(slot, rows, seen)

    def _before_writing(self, slots: slice | np.ndarray) -> None:
        """Copy the rows in these slots to where they are put back from."""
        if isinstance(slots, slice):
            slots = np.arange(slots.start, slots.stop)
        first = self._copies_of(self._sequence + 1)
        last = first + len(slots)
        self._room_to_undo(last)
        for values, old in zip((*self._records, self.born), self._old, strict=True):
            old[first:last] = values[slots]
        self._old_slots[first:last] = slots
        self._head[TAG] = (self._sequence + 1) % TAGS << 32 | last

    def _copies_of(self, sequence: int) -> int:
        """Rows that are put back if the commit of that number is not made."""
        number, rows = divmod(int(self._head[TAG]), 2**32)
        return rows if number == sequence % TAGS else 0

    def _recover(self) -> None:
        """Put back what was overwritten since the last commit."""
        rows = self._copies_of(self._sequence + 1)
        last = last_writes(self._old_slots[:rows][::-1])[::-1]  # the oldest copy of each slot
        first = np.flatnonzero(last >= 0)
        for values, old in zip((*self._records, self.born), self._old, strict=True):
            values[last[first]] = old[first]

    def move(self, slots: np.ndarray, first: int = 0) -> None:
        """Move rows, as `Storage.move`; the folder cannot be opened again from then on."""
        self._head[UNSOUND] = self._rearranged = True
        super().move(slots, first)

    def grow(self, slots: int, used: Iterable[slice] = ()) -> None:
        """Append empty slots; the folder cannot be opened again from then on."""
        before = len(self)
        self._head[UNSOUND] = True
        try:
            self._map_rows(slots)
        except OSError:  # some files may be longer by now, and the others not
            for name, row_bytes in self._row_bytes().items():
                os.truncate(self._folder / name, before * row_bytes)
            self._head[UNSOUND] = self._rearranged
            raise
        self._rearranged = True

    def load(self, slots: np.ndarray, state: Mapping[str, Any]) -> None:
        """Write the checked rows of `state` into `slots`; sound again with the next commit."""
        self._head[UNSOUND] = True
        super().load(slots, state)
