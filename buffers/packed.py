"""Rows in slots, packed: how they are held, read, saved and restored."""

from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np

from buffers.checks import check_names
from buffers.columns import Column
from buffers.frames import Frames
from buffers.layout import Batch, Layout, Records
from buffers.memory import check_fits
from buffers.rows import opaque_rows
from buffers.saved import check_array


class PackedRows:
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
        self._whole: Self | None = None  # of which this is a block
        self._frames = Frames(layout) if layout.apart else None
        self._hold(layout, layout.stored.zeros(slots), np.zeros(slots, np.uint32))

    def _hold(self, layout: Layout, records: Records, born: np.ndarray) -> None:
        self.layout, self._records, self.born = layout, records, born
        self._last = np.iinfo(born.dtype).max
        self.nested = layout.nested
        self.data = layout.stored.views(records)
        self._takes = [raw.take for raw in records]
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
            self.fill(out, slots)
            return out.columns()
        batch = self.layout.batch(len(slots))
        self.fill(batch, slots)
        return batch.columns() if out is None else copied(batch.columns(), out)

    def fill(self, batch: Batch, slots: np.ndarray) -> None:
        """Copy the rows in `slots` into a batch of as many rows that it fits."""
        if self._frames:
            self._frames.take(self._records, slots, batch.records)
        else:
            for take, target in zip(self._takes, batch.records):  # noqa: B905 (strict takes time)
                take(slots, None, target, "clip")  # the default would fill a copy of it

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
