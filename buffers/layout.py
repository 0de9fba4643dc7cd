"""How the columns of a row lie in memory: in packed records, so that one copy moves a whole row.

Columns whose values have 4 bytes or more make one record, smaller ones a second, and each column
of frames one of its own. So a batch takes two copies instead of one per column; every value is
aligned, as PyTorch demands of what it shares; and at most 4 bytes per row are lost, none where the
number of 4-byte values is even.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from buffers.checks import must_be_finite
from buffers.columns import Column, Sample
from buffers.nested import nested

Records = Sequence[np.ndarray]  # [rows] each; opaque, as NumPy copies structured ones by field


class Layout:
    """Where each column is in the records of a row; the same for the same columns in any order.

    Attributes:
        columns: name -> Column.
        apart: the columns that have a record of their own: by default those of frames.
        structs: dtype of each record, those of `apart` last.
        row_bytes: bytes of a row.
        nested: whether some columns are in dicts.
        places: of each column its name, the number of its record, its dtype there and first byte.
    """

    def __init__(self, columns: Mapping[str, Column], apart: Sequence[str] | None = None) -> None:
        self.columns = dict(columns)
        self.apart = sorted(k for k, c in columns.items() if c.frames) if apart is None else apart
        self.nested = any("." in name for name in columns)
        packed = {k: np.dtype(c.dtype) for k, c in columns.items() if k not in self.apart}
        wide = [name for name, dtype in packed.items() if dtype.itemsize >= 4]
        small = [name for name in packed if name not in wide]
        groups = [names for names in (wide, small) if names] + [[name] for name in self.apart]
        self.structs = tuple(self._struct(names) for names in groups)
        self.row_bytes = sum(struct.itemsize for struct in self.structs)
        self.places = [self._place(name) for name in columns]
        self._opaque = [f"V{struct.itemsize}" for struct in self.structs]

    def _struct(self, names: list[str]) -> np.dtype:
        """Large values first, those of one dtype that must be finite side by side."""

        def order(name: str) -> tuple[int, bool, str, str]:
            dtype = np.dtype(self.columns[name].dtype)
            return -dtype.itemsize, not must_be_finite(name, dtype), dtype.str, name

        fields = [
            (k, self.columns[k].dtype, self.columns[k].shape) for k in sorted(names, key=order)
        ]
        return np.dtype(fields, align=True)

    def _place(self, name: str) -> tuple[str, int, np.dtype, int]:
        """Name, number of the record, dtype there, and first byte of a column."""
        number = next(i for i, s in enumerate(self.structs) if name in (s.names or ()))
        dtype, first = dict(self.structs[number].fields or {})[name][:2]
        return name, number, dtype, first

    @cached_property
    def stored(self) -> "Layout":
        """The layout in a storage: numbers of frames in place of these."""
        if not self.apart:
            return self
        numbers = {k: Column((self.columns[k].frames,), np.uint32) for k in self.apart}
        return Layout(self.columns | numbers, self.apart)

    def zeros(self, rows: int) -> Records:
        """Records of `rows` rows; memory is taken page by page as they are written to."""
        return tuple(np.zeros(rows, opaque) for opaque in self._opaque)

    def views(self, records: Records) -> dict[str, np.ndarray]:
        """Each column of the records, [rows, *shape], sharing their memory."""
        return {k: records[i].getfield(dtype, first) for k, i, dtype, first in self.places}

    def finite_runs(self, records: Records) -> list[np.ndarray]:
        """The values of one row that must be finite, one array per dtype, sharing its memory."""
        runs: dict[tuple[int, np.dtype], tuple[int, int]] = {}  # first byte and end
        for name, number, dtype, first in self.places:
            if must_be_finite(name, dtype.base):
                key, end = (number, dtype.base), first + dtype.itemsize
                before = runs.get(key, (first, end))
                runs[key] = min(first, before[0]), max(end, before[1])
        return [
            records[number].view(np.uint8)[first:end].view(dtype)
            for (number, dtype), (first, end) in runs.items()
        ]

    def batch(self, rows: int) -> "Batch":
        """Arrays for a sample of `rows` rows."""
        return Batch(self, tuple(np.empty(rows, opaque) for opaque in self._opaque))


class Batch(Mapping[str, Any]):
    """Arrays by column name, or dicts of them, for a sample, whose rows are written as a whole.

    Attributes:
        layout: of the records.
        records: the memory that the arrays share.
        kept: the sample that `sample` returns again and again, if index and weight have their place
            as well; None: they are new each time.

    Args:
        place: where `sample` writes index and weight of its rows, int64 and float32 [rows].
    """

    def __init__(
        self,
        layout: Layout,
        records: Records,
        place: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        self.layout, self.records = layout, records
        self._like = layout
        self._views = layout.views(records)
        self._tree = nested(self._views) if layout.nested else self._views
        self.kept = None if place is None else Sample(self._tree, *place)

    def __getitem__(self, name: str) -> Any:
        return self._tree[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tree)

    def __len__(self) -> int:
        return len(self._tree)

    def fits(self, layout: Layout, rows: int) -> bool:
        """Whether it can take `rows` rows of that layout as they are."""
        if layout is not self._like and layout.structs == self.layout.structs:
            self._like = layout  # it will be asked again
        return layout is self._like and len(self.records[0]) == rows

    def some(self, which: slice | np.ndarray) -> "Batch":
        """Return some of the rows, with their part of index and weight."""
        kept = self.kept
        place = None if kept is None else (kept.index[which], kept.weight[which])
        return Batch(self.layout, tuple(raw[which] for raw in self.records), place)

    def keep(self, sample: Sample) -> None:
        """Have the index and the weight of a sample whose rows are here, if it has its own."""
        if self.kept is not None and sample is not self.kept:
            self.kept.index[...], self.kept.weight[...] = sample.index, sample.weight

    def sample(self) -> Sample:
        """Return the kept sample or a new one; its index and weight are still to be written."""
        if self.kept is not None:
            return self.kept
        rows, data = len(self.records[0]), self._views
        data = nested(data) if self.layout.nested else data.copy()
        return Sample(data, np.empty(rows, np.int64), np.empty(rows, np.float32))

    def column(self, name: str) -> np.ndarray:
        """Return the array of a column, which is named by its path if it is in a dict."""
        return self._views[name]

    def columns(self) -> dict[str, np.ndarray]:
        """Return the arrays by name, of columns in dicts by their path."""
        return self._views.copy()
