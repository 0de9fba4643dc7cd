"""The memory of a buffer: rows in slots, packed. It knows nothing of what to keep."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from buffers.columns import Column, check_names
from buffers.frames import Frames
from buffers.layout import Batch, Layout, Records
from buffers.rows import Rows, as_rows
from buffers.state import check_array


class Storage:
    """Rows in slots.

    Attributes:
        data: column name -> array [slots, *shape], a view into the records, or, if the column has
            frames, their numbers [slots, frames]. Index it; its `take` would copy the whole column
            first, as NumPy's does where values are not side by side.
        born: rows the buffer had been offered before the one in each slot, [slots]; 4 bytes each
            until there were 2**32 of them, 8 from then on.
        layout: how a row is packed outside of the storage.
    """

    def __init__(self, columns: Mapping[str, Column], slots: int) -> None:
        layout = Layout(columns)
        self._whole = self  # of which this is a block
        self._frames = Frames(layout) if layout.apart else None
        self._hold(layout, layout.stored.zeros(slots), np.zeros(slots, np.uint32))

    def _hold(self, layout: Layout, records: Records, born: np.ndarray) -> None:
        self.layout, self._records, self.born = layout, records, born
        self._last = np.iinfo(born.dtype).max
        self.data = layout.stored.views(records)

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
        part._whole, part._frames = self._whole, self._frames
        part._hold(self.layout, tuple(raw[own] for raw in self._records), self.born[own])
        return part

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

    def grow(self, slots: int) -> None:
        """Append empty slots, `slots` in all."""
        more = slots - len(self)
        pairs = zip(self._records, self.layout.stored.zeros(more), strict=True)
        records = tuple(np.concatenate(pair) for pair in pairs)
        born = np.concatenate([self.born, np.zeros(more, self.born.dtype)])
        self._hold(self.layout, records, born)

    def count_to(self, seen: int) -> bool:
        """Make sure that `born` can tell `seen` rows apart; return whether it is a new array."""
        if seen <= self._last:
            return False
        self._hold(self.layout, self._records, self.born.astype(np.int64))
        return True

    def put(self, slots: np.ndarray, rows: Mapping[str, np.ndarray], seen: int) -> None:
        """Write row i, born at `seen + i`, to slots[i], unless that is -1; no slot twice."""
        rows = as_rows(self.layout.columns, rows)
        self.count_to(seen + rows.n)
        kept = np.flatnonzero(slots >= 0)
        if not len(kept):
            return
        every = len(kept) == rows.n
        target = slots if every else slots.take(kept)
        packed = self.pack(self._numbered(rows if every else rows.some(kept)))
        for raw, record in zip(self._records, packed, strict=True):
            raw[target] = record
        self.born[target] = seen + kept

    def put_run(self, first: int, rows: Rows, seen: int) -> None:
        """Write the rows, born from `seen` on, to the slots from `first` on."""
        self.count_to(seen + rows.n)
        rows = self._numbered(rows)
        if rows.record is None:
            rows.write(self.data, first)
            self.born[first : first + rows.n] = np.arange(seen, seen + rows.n)
        else:
            self._put_one(first, rows.record, seen)

    def _put_one(self, slot: int, record: Records, born: int) -> None:
        for raw, values in zip(self._records, record):  # noqa: B905 (strict takes time)
            raw[slot] = values
        self.born[slot] = born

    def pack(self, rows: Rows) -> Records:
        """Return the rows as they are stored."""
        if rows.record:
            return rows.record
        batch = self.layout.stored.batch(rows.n)
        rows.write(batch.columns(), 0)
        return batch.records

    def _numbered(self, rows: Rows) -> Rows:
        """Return the rows with numbers in place of frames, which are stored."""
        if not self._frames:
            return rows
        frames = {name: rows[name] for name in self.layout.apart}
        numbers = self._frames.numbers(frames, self._whole.data)
        return Rows(self.layout.stored.columns, {**rows.given, **numbers})

    def take(
        self, slots: np.ndarray, out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Copy the rows in `slots`, into the arrays of `out` and only its columns if given."""
        if isinstance(out, Batch) and out.fits(self.layout, len(slots)):
            return self._take_into(out, slots)
        if self._frames:
            data = self._take_into(self.layout.batch(len(slots)), slots)
        else:
            data = self.layout.views([raw.take(slots) for raw in self._records])
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
        if self._frames:
            columns |= self._frames.numbers(columns, self._whole.data)
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
            columns |= self._frames.load(state, self._whole.data)
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


def last_writes(slots: np.ndarray) -> np.ndarray:
    """Return `slots` with -1 where a later row goes to the same slot.

    NumPy promises no order for repeated indices in one assignment: two columns of one slot could
    otherwise come from different rows.
    """
    stored = slots[slots >= 0].tolist()
    if len(set(stored)) == len(stored):
        return slots
    last = len(slots) - 1 - np.unique(slots[::-1], return_index=True)[1]
    kept = np.full_like(slots, -1)
    kept[last] = slots[last]
    return kept
