"""The check that rows pass on their way into a buffer, with a short way for rows like the last."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from buffers.checks import check_names, checked_values, must_be_finite, row_count
from buffers.columns import REQUIRED, Column
from buffers.layout import Layout
from buffers.nested import flat, root
from buffers.rows import Rows

FEW = 40  # values that are summed sooner in Python than in NumPy


class Intake:
    """The check that rows pass before they are stored."""

    def __init__(self, layout: Layout) -> None:
        self._layout, self._nested = layout, layout.nested
        self._form: _Form | None = None
        # Equal columns, of the buffer that the last rows were checked for.
        self._alike: Mapping[str, Column] = layout.columns
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
        if type(rows) is Rows:
            if rows.columns is self._alike:
                return rows
            if rows.columns == self._layout.columns:
                self._alike = rows.columns  # to compare them takes as long as to store a row
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
        self._row = Rows(layout.columns, {name: views[name] for name in given}, batch)
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
