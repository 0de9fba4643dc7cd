"""The memory of a buffer: rows in slots, and how they are written. What to keep it is told."""

from collections.abc import Mapping, Sequence

import numpy as np

from buffers.layout import Records
from buffers.packed import PackedRows
from buffers.places import last_writes, nowhere, somewhere
from buffers.rows import Rows, as_rows

SPARSE = 4  # rows of which less than one in so many are written as they are, not packed first
FULL = 1 << 15  # if they have more bytes than this, or are written one by one
PACKED = 1 << 16  # bytes of rows that are packed before they are stored: still in the cache then


class Storage(PackedRows):
    """Rows in slots, and how they get there."""

    def block(self, first: int, slots: int) -> "Storage":
        """`slots` slots from `first` on as a storage of their own that shares this memory."""
        part, own = Storage.__new__(Storage), slice(first, first + slots)
        part._whole, part._frames = self if self._whole is None else self._whole, self._frames
        part._hold(self.layout, tuple(raw[own] for raw in self._records), self.born[own])
        return part

    def reserve(self, rows: int, given: Mapping[str, np.ndarray] | None = None) -> None:
        """Have room to write so many rows; where they are in memory, there is."""

    def put(
        self,
        slots: np.ndarray,
        rows: Mapping[str, np.ndarray],
        seen: int,
        kept: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    ) -> np.ndarray:
        """Write row i, born at `seen + i`, to slots[i], unless that is -1.

        Args:
            slots: of each row, int64 [n].
            rows: [n, *shape] by column name.
            seen: rows that the buffer was offered before these.
            kept: if known, which rows have a slot, what slots these are, and when they were born.

        Returns:
            `slots`, but -1 where a later row went to the same slot.
        """
        rows = as_rows(self.layout.columns, rows)
        if seen + rows.n > self._last:
            self.count_to(seen + rows.n)
        if self._frames:
            return self._put_frames(last_writes(slots), rows, seen)
        if kept is None:
            which, where = somewhere(slots)
            kept = which, where, which + seen
        which, where, born = kept
        if not which.size:
            return slots
        self._before_writing(where)
        if (lasting := self._claim(where, born)) is not None:
            slots = slots.copy()
            slots[which[~lasting]] = -1
            which, where = which[lasting], where[lasting]
        large = rows.packed is None and rows.n * self.layout.row_bytes > FULL
        if large and rows.n > SPARSE * which.size:
            rows.scatter(self._opaque, which, where)
        else:
            self._write(where, rows.records(self.layout, which))
        return slots

    def _claim(self, slots: np.ndarray, born: np.ndarray) -> np.ndarray | None:
        """Write when the rows in these slots were born.

        Returns:
            Which rows stay, bool: of some with the same slot the last; None if all do.
        """
        born = born.astype(self.born.dtype)  # sooner than to convert there
        self.born[slots] = born
        if self.born[slots].tobytes() == born.tobytes():
            return None
        np.maximum.at(self.born, slots, born)  # an assignment promises no order
        lasting: np.ndarray = self.born[slots] == born
        return lasting

    def _put_frames(self, slots: np.ndarray, rows: Rows, seen: int) -> np.ndarray:
        which, where = somewhere(slots)
        if which.size:
            numbered, every = self._numbered(rows.some(which)), np.arange(which.size)
            self._before_writing(where)
            self.born[where] = which + seen
            for name, view in self.data.items():
                view[where] = numbered.taken(name, every)
        return slots

    def put_one(self, slot: int, rows: Rows, seen: int) -> None:
        """Write the one row there is, born at `seen`, to a slot: a third of `put_run`'s time."""
        if self._frames or seen >= self._last:
            self.put_run(slot, rows, seen)
            return
        packed = rows.packed
        if packed is None:
            packed = rows.pack(self.layout)
        for raw, values in zip(self._records, packed.records):  # noqa: B905 (strict takes time)
            raw[slot] = values
        self.born[slot] = seen

    def put_run(self, first: int, rows: Rows, seen: int) -> None:
        """Write the rows, born from `seen` on, to the slots from `first` on."""
        if seen + rows.n > self._last:
            self.count_to(seen + rows.n)
        slots = slice(first, first + rows.n)
        rows = self._numbered(rows)
        self._before_writing(slots)
        self.born[slots] = np.arange(seen, seen + rows.n, dtype=self.born.dtype)
        many = rows.packed is None and rows.n * self.layout.row_bytes > PACKED
        if many or self._frames:
            return rows.write(self.data, first)
        self._write(slots, rows.pack(self.layout).records)

    def put_each(self, pairs: Sequence[tuple[int, int]], rows: Rows, seen: int) -> None:
        """Write some rows to their slots, one after the other: for a few sooner than `put`.

        Args:
            pairs: a row and its slot each.
            rows: of which those are.
            seen: rows that the buffer was offered before these.
        """
        if seen + rows.n > self._last:
            self.count_to(seen + rows.n)
        if self._frames:
            slots = nowhere(rows.n)
            for row, slot in pairs:
                slots[row] = slot
            self._put_frames(last_writes(slots), rows, seen)
            return
        if rows.packed is None and rows.n > SPARSE * len(pairs):
            each = rows.each(self.layout, [row for row, _ in pairs])
            for (_, slot), record in zip(pairs, each):  # noqa: B905 (strict takes time)
                for raw, values in zip(self._records, record):  # noqa: B905
                    raw[slot] = values
        else:
            for raw, values in zip(self._records, rows.pack(self.layout).records):  # noqa: B905
                for row, slot in pairs:
                    raw[slot] = values[row]
        for row, slot in pairs:
            self.born[slot] = seen + row

    def _write(self, where: slice | np.ndarray, records: Records) -> None:
        for raw, values in zip(self._records, records):  # noqa: B905 (strict takes time)
            raw[where] = values

    def _before_writing(self, slots: slice | np.ndarray) -> None:
        """Take note that these slots will be written to."""

    def commit(self, seen: int, added: int) -> None:
        """Take note that an operation is complete, with the buffer's counters after it."""

    def _numbered(self, rows: Rows) -> Rows:
        """Return the rows with numbers in place of frames, which are stored."""
        if not self._frames:
            return rows
        frames = {name: rows[name] for name in self.layout.apart}
        numbers = self._stored_frames(frames)
        return Rows(self.layout.stored.columns, {**rows.given, **numbers})

    def _stored_frames(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Store the frames of those columns that have some; return their numbers."""
        return self._frames.numbers(columns, self._all_data()) if self._frames else {}

    def overwrite(self, slots: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
        """Write some columns of the rows in `slots`."""
        last = last_writes(slots)
        kept = last >= 0
        columns = {name: values[kept] for name, values in columns.items()}
        columns |= self._stored_frames(columns)
        self._before_writing(last[kept])
        for name, values in columns.items():
            self.data[name][last[kept]] = values
