"""Rows on their way into a buffer: checked once, then handed from one buffer to the next."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from buffers.columns import REQUIRED, Column, check_names, checked_values, must_be_finite, row_count
from buffers.layout import Batch, Layout, Records
from buffers.nested import flat, root

CACHED = 1 << 18  # bytes of rows that stay in the cache until they are stored
FEW = 40  # values that are summed sooner in Python than in NumPy
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
            return Rows(self.columns, packed.columns(), packed)
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


class Intake:
    """The check that rows pass before they are stored."""

    def __init__(self, layout: Layout) -> None:
        self._layout, self._nested = layout, layout.nested
        self._form: _Form | None = None
        self._n = 1  # rows of the last batch
        self._required = [name for name in layout.columns if root(name) in REQUIRED]
        self._expected = []
        for name, column in layout.columns.items():
            dtype = np.dtype(column.dtype)
            self._expected.append((name, dtype, column.shape, must_be_finite(name, dtype)))

    def __reduce__(self) -> tuple[type, tuple[Layout]]:
        return Intake, (self._layout,)

    def checked(self, rows: Mapping[str, ArrayLike]) -> Rows:
        """Return the rows with every column as an array [n, *shape] of its dtype.

        Rows that were checked for a buffer of the same columns are returned as they are, those
        for one of other columns are checked again.

        Raises:
            ValueError: a column is unknown, missing, or not what `checked_values` accepts.
        """
        # Not isinstance, which for what is no `Rows` asks the class of mappings first.
        if type(rows) is Rows and rows.columns == self._layout.columns:
            return rows
        if self._nested:
            rows = flat(rows)
        if self._form is not None and (taken := self._form.take(rows)) is not None:
            return taken
        columns = self._layout.columns
        check_names(rows, self._required, columns)
        n = row_count(self._required[0], rows[self._required[0]])
        given = {
            name: _checked(rows[name], name, columns[name], (n, *shape), dtype, finite)
            for name, dtype, shape, finite in self._expected
            if name in rows
        }
        if n == self._n and all(v is rows[k] for k, v in given.items()):
            self._form = self._form_of(given, n)
        self._n = n
        return Rows(columns, given)

    def _form_of(self, given: Mapping[str, np.ndarray], n: int) -> "_Form":
        packs = n == 1 and not self._layout.apart
        return _RowForm(self._layout, given) if packs else _Form(self._layout, given)


class _Form:
    """The short way for rows like those before: of the same columns, as many, as they are stored.

    What differs is looked at more closely, for an error that says where. Here each call to NumPy
    counts: for few rows it takes longer than the work in it. So the rows that are returned, and the
    memory they are packed into, serve again for the next batch.

    Args:
        layout: of the records.
        given: rows; the columns, and the number of rows, that those to come must have.
    """

    def __init__(self, layout: Layout, given: Mapping[str, np.ndarray]) -> None:
        self._rows = Rows(layout.columns, given)
        self._parts = [(k, v.dtype, v.shape, must_be_finite(k, v.dtype)) for k, v in given.items()]

    def take(self, rows: Mapping[str, Any]) -> Rows | None:
        """Return these rows, checked; None if they need to be looked at more closely."""
        if len(rows) != len(self._parts):
            return None
        try:
            for name, dtype, shape, finite in self._parts:
                values = rows[name]
                if values.dtype is not dtype or values.shape != shape:
                    return None
                if finite and not _is_finite(values):
                    return None
        except (KeyError, AttributeError):  # a column is missing, or a list
            return None
        return self._rows.reuse(rows)


class _RowForm(_Form):
    """The short way for a single row, which is packed at once, and then checked as a whole."""

    def __init__(self, layout: Layout, given: Mapping[str, np.ndarray]) -> None:
        super().__init__(layout, given)
        batch = self._rows.pack(layout)
        views = batch.columns()
        self._row = Rows(layout.columns, views, batch)
        runs = layout.finite_runs(batch.records)
        self._few = [run.tolist for run in runs if len(run) <= FEW]
        self._many = [run for run in runs if len(run) > FEW]
        self._targets = [  # without the axis of rows, NumPy copies in half the time
            (k, v.dtype, v.shape, views[k].reshape(v.shape[1:])) for k, v in given.items()
        ]

    def take(self, rows: Mapping[str, Any]) -> Rows | None:
        """Return this row, checked; None if it needs to be looked at more closely."""
        if len(rows) != len(self._targets):
            return None
        try:
            for name, dtype, shape, target in self._targets:
                values = rows[name]
                if values.dtype is not dtype or values.shape != shape:
                    return None
                target[...] = values
        except (KeyError, AttributeError):  # a column is missing, or a list
            return None
        for numbers in self._few:
            if not isfinite(sum(numbers())):
                return None
        for run in self._many:
            if not _is_finite(run):
                return None
        return self._row


def _checked(
    values: ArrayLike,
    name: str,
    column: Column,
    shape: tuple[int, ...],
    dtype: np.dtype,
    finite: bool,
) -> np.ndarray:
    """Return what `checked_values` would, sooner if the values are clearly as they should be."""
    if (
        isinstance(values, np.ndarray)
        and values.dtype is dtype
        and values.shape == shape
        and not (finite and not _is_finite(values))
    ):
        return values
    return checked_values(name, column, values, shape[0])


def _is_finite(values: np.ndarray) -> bool:
    """Whether all values are finite; may say False if some are large.

    A sum of squares is not finite if one value is not: half the time of looking at each of them.
    `vdot`, as `dot` warns of an overflow.
    """
    return isfinite(np.vdot(values, values))
