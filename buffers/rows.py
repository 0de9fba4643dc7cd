"""Rows on their way into a buffer: checked once, then handed from one buffer to the next."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from buffers.columns import REQUIRED, Column, check_names, checked_values, must_be_finite, row_count
from buffers.layout import Batch, Layout
from buffers.nested import flat, root

FEW = 40  # values that are summed sooner in Python than in NumPy
PACKED = 1 << 16  # bytes of a batch that are packed at once: they are still in the cache then


class Rows(Mapping[str, np.ndarray]):
    """A batch of checked rows, [n, *shape] by column name.

    Arrays may be the caller's own, or serve again for the next batch: copy what you keep.

    Attributes:
        n: number of rows.
        given: the columns that were given; the others have their fill value in every row.
        packed: the rows as they are stored, with the columns that were not given, if they are few.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        given: Mapping[str, np.ndarray],
        packed: Batch | None = None,
    ) -> None:
        self.n = len(next(iter(given.values())))
        self.given, self.packed = given, packed
        self._columns = columns

    def __getitem__(self, name: str) -> np.ndarray:
        if (values := self.given.get(name)) is not None:
            return values
        column = self._columns[name]
        return np.full((self.n, *column.shape), column.fill, column.dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def some(self, which: slice | np.ndarray) -> "Rows":
        """Return some of the rows."""
        if self.packed is not None:
            packed = self.packed.some(which)
            return Rows(self._columns, packed.columns(), packed)
        if isinstance(which, slice):
            return Rows(self._columns, {k: v[which] for k, v in self.given.items()})
        return Rows(self._columns, {k: v.take(which, axis=0) for k, v in self.given.items()})

    def taken(self, name: str, which: np.ndarray) -> np.ndarray | float:
        """A column of some of the rows, or the one value that all of them have there."""
        values = self.given.get(name)
        return self._columns[name].fill if values is None else values.take(which, axis=0)

    def write(self, views: Mapping[str, np.ndarray], first: int) -> None:
        """Write the rows to consecutive rows, from `first` on, of arrays by column name."""
        to = slice(first, first + self.n)
        for name, target in views.items():
            values = self.given.get(name)
            target[to] = self._columns[name].fill if values is None else values


def as_rows(columns: Mapping[str, Column], rows: Mapping[str, np.ndarray]) -> Rows:
    """Return checked rows, which may be in a plain dict, as `Rows`."""
    return rows if isinstance(rows, Rows) else Rows(columns, rows)


class Intake:
    """The check that rows pass before they are stored."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
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

        Raises:
            ValueError: a column is unknown, missing, or not what `checked_values` accepts.
        """
        if self._layout.nested:
            rows = flat(rows)
        if self._form is not None and self._form.take(rows):
            return self._form.rows
        columns = self._layout.columns
        check_names(rows, self._required, columns)
        n = row_count(self._required[0], rows[self._required[0]])
        given = {
            name: _checked(rows[name], name, columns[name], (n, *shape), dtype, finite)
            for name, dtype, shape, finite in self._expected
            if name in rows
        }
        if n == self._n and self._packs(n) and all(v is rows[k] for k, v in given.items()):
            self._form = _Form(self._layout, given)
        self._n = n
        return Rows(columns, given)

    def _packs(self, n: int) -> bool:
        """Whether it is worth while to pack so many rows."""
        few = not self._layout.apart and n * self._layout.row_bytes <= PACKED
        return n == 1 or (few and n > 1)


class _Form:
    """The short way for rows like those before, which needed no conversion: packed and checked.

    All memories that they are offered to then copy records, not columns. Here each call to NumPy
    counts: for few rows it takes longer than the work in it.

    Args:
        layout: of the records.
        given: rows; the columns, and the number of rows, that those to come must have.
    """

    def __init__(self, layout: Layout, given: Mapping[str, np.ndarray]) -> None:
        n = len(next(iter(given.values())))
        batch = layout.batch(n)
        views = batch.columns()
        Rows(layout.columns, given).write(views, 0)
        self.rows = Rows(layout.columns, views, batch)
        self._finite = layout.finite_runs(batch.records) if n == 1 else []
        self._parts = [
            (k, v.dtype, v.shape, views[k], n > 1 and must_be_finite(k, v.dtype))
            for k, v in given.items()
        ]

    def take(self, rows: Mapping[str, Any]) -> bool:
        """Become these rows; if False, they need to be looked at more closely."""
        if len(rows) != len(self._parts):
            return False
        try:
            for name, dtype, shape, target, finite in self._parts:
                values = rows[name]
                if values.dtype is not dtype or values.shape != shape:
                    return False
                if finite and not _is_finite(values):
                    return False
                target[...] = values
        except (KeyError, AttributeError):  # a column is missing, or a list
            return False
        for values in self._finite:
            few = len(values) <= FEW
            if not math.isfinite(sum(values.tolist()) if few else np.vdot(values, values)):
                return False
        return True


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
    return math.isfinite(np.vdot(values, values))
