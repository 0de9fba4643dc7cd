"""The check that every column passes before it is stored, and every index before it is used."""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import ArrayLike

from buffers.columns import FINITE, Column
from buffers.nested import root


def must_be_finite(name: str, dtype: np.dtype) -> bool:
    """Whether NaN and infinity are refused in this column."""
    return root(name) in FINITE and dtype.kind == "f"


def row_count(name: str, values: ArrayLike) -> int:
    """Rows that a column has; a scalar counts as one, its shape is refused later."""
    return len(np.atleast_1d(_as_array(name, values)))


def checked_columns(
    columns: Mapping[str, Column], given: Mapping[str, ArrayLike], n: int
) -> dict[str, np.ndarray]:
    """Return the given columns as arrays [n, *shape]; `task` counts as unknown here.

    Raises:
        ValueError: a column is unknown or not what `checked_values` accepts.
    """
    check_names(given, (), columns.keys() - {"task"})
    return {name: checked_values(name, columns[name], v, n) for name, v in given.items()}


def check_names(given: Collection[str], required: Collection[str], known: Collection[str]) -> None:
    """Raise ValueError where a required column is missing or a given one unknown."""
    for name in required:
        if name not in given:
            raise ValueError(f"column {name!r} is missing; given are {sorted(given)}")
    for name in given:
        if name not in known:
            raise ValueError(f"column {name!r} is unknown; expected are {sorted(known)}")


def checked_values(name: str, column: Column, values: ArrayLike, n: int) -> np.ndarray:
    """Return `values` as an array [n, *shape] of the column's dtype, no copy where it is one.

    Raises:
        ValueError: the shape differs, the dtype is of another kind, an integer does not fit, or
            a state, action or reward is not finite.
    """
    given, dtype = _as_array(name, values), np.dtype(column.dtype)
    if given.shape != (n, *column.shape) or not _castable(given.dtype, dtype):
        expected = f"{dtype} {[n, *column.shape]}"
        hint = "; scale and convert floats yourself" if _loses(given.dtype, dtype) else ""
        raise ValueError(
            f"column {name!r}: expected {expected}, given {given.dtype} {list(given.shape)}{hint}"
        )
    cast = given if given.dtype == dtype else _cast(name, given, dtype)
    if must_be_finite(name, dtype) and not np.isfinite(cast).all():
        raise ValueError(f"column {name!r}: expected finite {dtype}, given NaN or infinity")
    return cast


def _cast(name: str, given: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Convert to a dtype of the same kind; floats are rounded, but must not become infinite."""
    with np.errstate(over="ignore"):
        cast = given.astype(dtype)
    changed = cast != given if dtype.kind in "iu" else np.isinf(cast) != np.isinf(given)
    if changed.any():
        largest = np.finfo(dtype).max if dtype.kind == "f" else np.iinfo(dtype).max
        raise ValueError(
            f"column {name!r}: expected values that fit {dtype}, up to {largest}, given larger ones"
        )
    return cast


def _loses(given: np.dtype, dtype: np.dtype) -> bool:
    return given.kind == "f" and dtype.kind in "iu"


def checked_index(index: ArrayLike) -> np.ndarray:
    """Return where rows are as int64, in the shape given; ValueError unless whole numbers."""
    given = np.asarray(index)
    if given.dtype.kind not in "iu" and given.size:  # an empty list is of floats
        raise ValueError(f"index: expected whole numbers, given {given.dtype}")
    return given.astype(np.int64, copy=False)


def checked_errors(index: ArrayLike, td_error: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return index, int64 [n], and TD errors, float64 [n].

    Raises:
        ValueError: they are not as many, or an index is no whole number, or an error not finite.
    """
    slots, error = checked_index(index), np.asarray(td_error, np.float64)
    if slots.ndim != 1 or slots.shape != error.shape:
        given = f"{list(slots.shape)} and {list(error.shape)}"
        raise ValueError(f"feedback: expected as many rows as TD errors, given {given}")
    if not (finite := np.isfinite(error)).all():
        wrong = np.flatnonzero(~finite)[0]
        raise ValueError(
            f"feedback: expected finite TD errors, given {error[wrong]} for row {slots[wrong]}"
        )
    return slots, error


def _castable(given: np.dtype, dtype: np.dtype) -> bool:
    return given == dtype or np.can_cast(given, dtype, "same_kind")


def _as_array(name: str, values: ArrayLike) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError:
        raise ValueError(f"column {name!r}: expected an array, given a ragged list") from None
