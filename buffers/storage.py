"""The memory of a buffer: rows in slots, packed. It knows nothing of what to keep."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from buffers.columns import Column, check_names
from buffers.frames import Frames
from buffers.layout import Batch, Layout, Records
from buffers.memory import check_fits
from buffers.places import last_writes, nowhere, somewhere
from buffers.rows import Rows, as_rows, opaque_rows
from buffers.state import check_array

SPARSE = 4  # rows of which less than one in so many are written as they are, not packed first
FULL = 1 << 15  # if they have more bytes than this, or are written one by one
PACKED = 1 << 16  # bytes of rows that are packed before they are stored: still in the cache then


class Storage:
    """Rows in slots.

    Attributes:
        data: column name -> array [slots, *shape], a view into the records, or, if the column has
            frames, their numbers [slots, frames]. Index it; its `take` would copy the whole column
            first, as NumPy's does where values are not side by side.
        born: rows the buffer had been offered before the one in each slot, [slots]; 4 bytes each
            until there were 2**32 of them, 8 from then on.
        layout: how a row is packed outside of the storage.
        nested: whether some columns are in dicts.
    """

    def __init__(self, columns: Mapping[str, Column], slots: int) -> None:
        layout = Layout(columns)
        check_fits(layout.stored, slots)
        self._whole: Storage | None = None  # of which this is a block
        self._frames = Frames(layout) if layout.apart else None
        self._hold(layout, layout.stored.zeros(slots), np.zeros(slots, np.uint32))

    def _hold(self, layout: Layout, records: Records, born: np.ndarray) -> None:
        self.layout, self._records, self.born = layout, records, born
        self._last = np.iinfo(born.dtype).max
        self.nested = layout.nested
        self.data = layout.stored.views(records)
        self._opaque = self.data | opaque_rows(self.data)

    def __getstate__(self) -> tuple[Any, ...]:  # views would come back as copies
        return self._whole, self._frames, self.layout, self._records, self.born

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._whole, self._frames = state[:2]
        self._hold(*state[2:])

    def __len__(self) -> int:
        return len(self.born)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, filled or not."""
        frames = self._frames.nbytes if self._frames else 0
        return frames + sum(values.nbytes for values in (self.born, *self._records))

    def block(self, first: int, slots: int) -> "Storage":
        """`slots` slots from `first` on as a storage of their own that shares this memory."""
        part, own = Storage.__new__(Storage), slice(first, first + slots)
        part._whole, part._frames = self if self._whole is None else self._whole, self._frames
        part._hold(self.layout, tuple(raw[own] for raw in self._records), self.born[own])
        return part

    def _all_data(self) -> dict[str, np.ndarray]:
        return self.data if self._whole is None else self._whole.data

    def move(self, slots: np.ndarray, first: int = 0) -> None:
        """Move the row of slots[i] to slot `first` + i."""
        for values in (self.born, *self._records):
            values[first : first + len(slots)] = values[slots]

    def keep(self, slots: np.ndarray) -> None:
        """Take note that no row is in any other slot: nobody needs the frames of what was there."""
        if self._frames:
            others = np.ones(len(self), bool)
            others[slots] = False
            self._frames.empty(others, self.data)

    def grow(self, slots: int, used: Iterable[slice] = (slice(None),)) -> None:
        """Append empty slots, `slots` in all; only those in `used` keep their rows."""
        stored = self.layout.stored
        check_fits(stored, slots)
        *records, born = (*stored.zeros(slots), np.zeros(slots, self.born.dtype))
        for part in used:  # copying the others would take memory for rows that are not there
            last = part.indices(len(self))[1]
            for new, old in zip((*records, born), (*self._records, self.born), strict=True):
                new[part.start or 0 : last] = old[part]
        self._hold(self.layout, tuple(records), born)

    def count_to(self, seen: int) -> bool:
        """Make sure that `born` can tell `seen` rows apart; return whether it is a new array."""
        if seen <= self._last:
            return False
        self._hold(self.layout, self._records, self.born.astype(np.int64))
        return True

    def reserve(self, rows: int) -> None:
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
        for raw, values in zip(self._records, rows.pack(self.layout).records):  # noqa: B905
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

    def take(
        self, slots: np.ndarray, out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Copy the rows in `slots`, into the arrays of `out` and only its columns if given."""
        if out is None and not self._frames:
            taken, data = [raw.take(slots) for raw in self._records], {}
            for name, number, dtype, first in self.layout.places:
                data[name] = taken[number].getfield(dtype, first)
            return data
        if isinstance(out, Batch) and out.fits(self.layout, len(slots)):
            return self._take_into(out, slots)
        data = self._take_into(self.layout.batch(len(slots)), slots)
        return data if out is None else copied(data, out)

    def _take_into(self, batch: Batch, slots: np.ndarray) -> dict[str, np.ndarray]:
        if self._frames:
            self._frames.take(self._records, slots, batch.records)
        else:
            for raw, target in zip(self._records, batch.records):  # noqa: B905 (strict takes time)
                raw.take(slots, out=target, mode="clip")  # the default would fill a copy of it
        return batch.columns()

    def overwrite(self, slots: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
        """Write some columns of the rows in `slots`."""
        last = last_writes(slots)
        kept = last >= 0
        columns = {name: values[kept] for name, values in columns.items()}
        columns |= self._stored_frames(columns)
        self._before_writing(last[kept])
        for name, values in columns.items():
            self.data[name][last[kept]] = values

    def save(self, slots: np.ndarray) -> dict[str, Any]:
        """Copy the rows in `slots` into a flat dict."""
        born = {"born": self.born[slots].astype(np.int64)}
        columns = {f"column.{name}": values[slots] for name, values in self.data.items()}
        return born | columns | (self._frames.save(slots, self.data) if self._frames else {})

    def keys(self) -> list[str]:
        """Return the keys of what `save` returns."""
        frames = self._frames.keys() if self._frames else []
        return ["born", *(f"column.{name}" for name in self.data), *frames]

    def check(self, state: Mapping[str, Any], rows: int) -> None:
        """Raise ValueError unless `state` holds `rows` rows of these columns."""
        check_array(state, "born", (rows,), np.dtype(np.int64))
        for name, values in self.data.items():
            check_array(state, f"column.{name}", (rows, *values.shape[1:]), values.dtype)
        if self._frames:
            self._frames.check(state)

    def load(self, slots: np.ndarray, state: Mapping[str, Any]) -> None:
        """Write the checked rows of `state` into `slots`; no other row is kept."""
        self.keep(slots[:0])
        columns = {name: state[f"column.{name}"] for name in self.data}
        if self._frames:
            columns |= self._frames.load(state, self._all_data())
        self.born[slots] = state["born"]
        for name, values in columns.items():
            self.data[name][slots] = values

    def describe(self, slots: np.ndarray) -> dict[str, Any]:
        """Say what the rows in `slots` have in common, as JSON can hold it."""
        return {"frames": self._frames.describe(slots, self.data)} if self._frames else {}


def copied(data: Mapping[str, np.ndarray], out: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Copy the columns that `out` has into its arrays, and return these.

    Raises:
        ValueError: `out` has an unknown column, or one of another shape or dtype.
    """
    check_names(out, (), data)
    for name, target in out.items():
        if target.shape != (own := data[name]).shape or target.dtype != own.dtype:
            expected, given = (f"{a.dtype} {list(a.shape)}" for a in (own, target))
            raise ValueError(f"out {name!r}: expected {expected}, given {given}")
    for name, target in out.items():
        target[...] = data[name]
    return dict(out)
