"""Rows on their way into a buffer: checked once, then handed from one buffer to the next."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

import numpy as np

from buffers.columns import Column
from buffers.layout import Batch, Layout, Records

CACHED = 1 << 18  # bytes of rows that stay in the cache until they are stored
MANY = 128  # rows that are copied sooner as a whole than number by number


class Rows(Mapping[str, np.ndarray]):
    """A batch of checked rows, [n, *shape] by column name.

    Arrays may be the caller's own, or serve again for the next batch: copy what you keep.

    Attributes:
        n: number of rows.
        columns: name -> Column, of the buffer that they were checked for.
        given: the columns that were given; the others have their fill value in every row.
        packed: the rows as they are stored, with the columns that were not given; None until
            somebody asked for that, see `pack`.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        given: Mapping[str, np.ndarray],
        packed: Batch | None = None,
    ) -> None:
        self.n = len(next(iter(given.values())))
        self.given, self.packed = given, packed
        self.columns = columns
        self._room: Batch | None = None  # where to pack the rows
        self._one: tuple[Records, list[tuple[str, np.ndarray]]] | None = None  # and one of them
        self._runs: tuple[tuple[int, ...], list[Rows]] = (), []  # of the last `runs`

    def __getitem__(self, name: str) -> np.ndarray:
        if (values := self.given.get(name)) is not None:
            return values
        if self.packed is not None:
            return self.packed.column(name)
        column = self.columns[name]
        return np.full((self.n, *column.shape), column.fill, column.dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def reuse(self, given: Mapping[str, np.ndarray]) -> "Rows":
        """Become other rows: as many, of the same columns and dtypes."""
        self.given, self.packed = given, None
        return self

    def pack(self, layout: Layout) -> Batch:
        """Return the rows as they are stored, which all memories they are offered to share."""
        if self.packed is None:
            self.packed = self._packing(layout)
            for name, values in self.given.items():
                opaque = self._opaque.get(name)
                if opaque is None or not values.flags.c_contiguous:
                    self._views[name][...] = values
                else:
                    opaque[...] = np.ndarray(self.n, opaque.dtype, values)
        return self.packed

    def records(self, layout: Layout, which: np.ndarray) -> Records:
        """Some of the rows as they are stored."""
        return [values.take(which) for values in self.pack(layout).records]

    def each(self, layout: Layout, which: Iterable[int]) -> Iterator[Records]:
        """Some of the rows one by one, as they are stored, in memory that serves again."""
        if self._one is None:
            room = self._filled(layout.batch(1))
            views = room.columns()
            targets = [(k, views[k].reshape(v.shape[1:])) for k, v in self.given.items()]
            self._one = room.records, targets
        records, targets = self._one
        for row in which:
            for name, target in targets:
                target[...] = self.given[name][row]
            yield records

    def _packing(self, layout: Layout) -> Batch:
        """Memory to pack into, with what all rows have in the columns that are not given."""
        if self._room is None:
            self._room = self._filled(layout.batch(self.n))
            self._views = self._room.columns()
            self._opaque = opaque_rows(self._views) if self.n >= MANY else {}
        return self._room

    def _filled(self, room: Batch) -> Batch:
        for name, values in room.columns().items():
            if name not in self.given:
                values[...] = self.columns[name].fill
        return room

    def some(self, which: slice | np.ndarray) -> "Rows":
        """Return some of the rows."""
        if self.packed is not None:
            packed = self.packed.some(which)
            return Rows(self.columns, {k: packed.column(k) for k in self.given}, packed)
        if isinstance(which, slice):
            return Rows(self.columns, {k: v[which] for k, v in self.given.items()})
        return Rows(self.columns, {k: v.take(which, axis=0) for k, v in self.given.items()})

    def runs(self, layout: Layout, edges: tuple[int, ...]) -> list["Rows"]:
        """Return the rows between every two edges, packed in one go if they are few."""
        if layout.apart or self.n * layout.row_bytes > CACHED:
            return [self.some(slice(*ends)) for ends in pairwise(edges)]
        self.pack(layout)
        if self._runs[0] != edges:  # else they are where they were the last time
            self._runs = edges, [self.some(slice(*ends)) for ends in pairwise(edges)]
        return self._runs[1]

    def taken(self, name: str, which: np.ndarray) -> np.ndarray | float:
        """A column of some of the rows, or the one value that all of them have there."""
        values = self.given.get(name)
        return self.columns[name].fill if values is None else values.take(which, axis=0)

    def scatter(
        self, views: Mapping[str, np.ndarray], which: np.ndarray, where: np.ndarray
    ) -> None:
        """Write some of the rows to row where[i] each of arrays by column name, [n, *shape].

        Args:
            views: those of some numbers per row as `opaque_rows` makes them.
            which: of the rows to write.
            where: to write them to; none twice.
        """
        for name, target in views.items():
            if (values := self.given.get(name)) is None:
                column = self.columns[name]
                fill = np.full(column.shape, column.fill, column.dtype)
                target[where] = fill.view(target.dtype)
            elif target.ndim == 1 < values.ndim:
                whole = np.ndarray(self.n, target.dtype, np.ascontiguousarray(values))
                target[where] = whole[which]
            else:
                target[where] = values.take(which, axis=0)

    def write(self, views: Mapping[str, np.ndarray], first: int) -> None:
        """Write the rows to consecutive rows, from `first` on, of arrays by column name."""
        to = slice(first, first + self.n)
        for name, target in views.items():
            values = self.given.get(name)
            target[to] = self.columns[name].fill if values is None else values


def opaque_rows(views: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The columns of some numbers per row, each row as one value without a type, [n].

    NumPy then copies a row in one piece, where it would go number by number.
    """
    return {
        name: view.view(f"V{view.itemsize * view.shape[1]}")[:, 0]
        for name, view in views.items()
        if view.ndim == 2 and view.shape[1] > 1
    }


def as_rows(columns: Mapping[str, Column], rows: Mapping[str, np.ndarray]) -> Rows:
    """Return checked rows, which may be in a plain dict, as `Rows`."""
    return rows if isinstance(rows, Rows) else Rows(columns, rows)
