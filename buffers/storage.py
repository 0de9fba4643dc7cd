"""The memory of a buffer: rows in slots, packed. It knows nothing of what to keep."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from buffers.columns import Column, check_names
from buffers.layout import Batch, Layout, Records
from buffers.rows import Rows, as_rows
from buffers.state import check_array


class Storage:
    """Rows in slots.

    Attributes:
        data: column name -> array [slots, *shape], a view into the records. Index it; its `take`
            would copy the whole column first, as NumPy's does where values are not side by side.
        born: rows the buffer had been offered before the one in each slot, [slots]; 4 bytes each
            until there were 2**32 of them, 8 from then on.
        layout: how a row is packed.
    """

    def __init__(self, columns: Mapping[str, Column], slots: int) -> None:
        layout = Layout(columns)
        self._hold(layout, layout.zeros(slots), np.zeros(slots, np.uint32))

    def _hold(self, layout: Layout, records: Records, born: np.ndarray) -> None:
        self.layout, self._records, self.born = layout, records, born
        self._last = np.iinfo(born.dtype).max
        self.data = layout.views(records)

    def __getstate__(self) -> tuple[Layout, Records, np.ndarray]:
        return self.layout, self._records, self.born  # views would come back as copies

    def __setstate__(self, state: tuple[Layout, Records, np.ndarray]) -> None:
        self._hold(*state)

    def __len__(self) -> int:
        return len(self.born)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, filled or not."""
        return sum(values.nbytes for values in (self.born, *self._records))

    def block(self, first: int, slots: int) -> "Storage":
        """`slots` slots from `first` on as a storage of their own that shares this memory."""
        part, own = Storage.__new__(Storage), slice(first, first + slots)
        part._hold(self.layout, tuple(raw[own] for raw in self._records), self.born[own])
        return part

    def move(self, slots: np.ndarray, first: int = 0) -> None:
        """Move the row of slots[i] to slot `first` + i."""
        for values in (self.born, *self._records):
            values[first : first + len(slots)] = values[slots]

    def grow(self, slots: int) -> None:
        """Append empty slots, `slots` in all."""
        more = slots - len(self)
        pairs = zip(self._records, self.layout.zeros(more), strict=True)
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
        packed = self.pack(rows if every else rows.some(kept))
        for raw, record in zip(self._records, packed, strict=True):
            raw[target] = record
        self.born[target] = seen + kept

    def put_run(self, first: int, rows: Rows, seen: int) -> None:
        """Write the rows, born from `seen` on, to the slots from `first` on."""
        self.count_to(seen + rows.n)
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
        batch = self.layout.batch(rows.n)
        rows.write(batch.columns(), 0)
        return batch.records

    def take(
        self, slots: np.ndarray, out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Copy the rows in `slots`, into the arrays of `out` and only its columns if given."""
        if isinstance(out, Batch) and out.fits(self.layout, len(slots)):
            for raw, target in zip(self._records, out.records):  # noqa: B905 (strict takes time)
                raw.take(slots, out=target, mode="clip")  # the default would fill a copy of it
            return out.columns()
        data = self.layout.views([raw.take(slots) for raw in self._records])
        return data if out is None else copied(data, out)

    def overwrite(self, slots: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
        """Write some columns of the rows in `slots`."""
        last = last_writes(slots)
        kept = last >= 0
        for name, values in columns.items():
            self.data[name][last[kept]] = values[kept]

    def save(self, slots: np.ndarray) -> dict[str, Any]:
        """Copy the rows in `slots` into a flat dict."""
        born = {"born": self.born[slots].astype(np.int64)}
        return born | {f"column.{name}": values[slots] for name, values in self.data.items()}

    def keys(self) -> list[str]:
        """Return the keys of what `save` returns."""
        return ["born", *(f"column.{name}" for name in self.data)]

    def check(self, state: Mapping[str, Any], rows: int) -> None:
        """Raise ValueError unless `state` holds `rows` rows of these columns."""
        check_array(state, "born", (rows,), np.dtype(np.int64))
        for name, values in self.data.items():
            check_array(state, f"column.{name}", (rows, *values.shape[1:]), values.dtype)

    def load(self, slots: np.ndarray, state: Mapping[str, Any]) -> None:
        """Write the checked rows of `state` into `slots`."""
        self.born[slots] = state["born"]
        for name, values in self.data.items():
            values[slots] = state[f"column.{name}"]


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
