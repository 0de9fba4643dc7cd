"""What a row consists of, and the check every row passes before it is stored."""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from buffers.nested import flat, root

FINITE = ("state", "action", "reward", "next_state")  # one NaN here ruins every later update
REQUIRED = (*FINITE, "done")


class Column(NamedTuple):
    """One column of a buffer.

    Rows may come in another dtype of the same kind, as long as their values fit: a float16 column
    takes float32 rows, rounded, in half the bytes. uint8 takes images a quarter of what float32
    does; floats are refused there, as only the caller knows their scale.

    Attributes:
        shape: shape of one row's value, without the batch axis.
        dtype: boolean, integer or float dtype the values are stored in.
        fill: value stored when an added row does not give the column.
        frames: how many frames of equal size a value consists of along its first axis, such as 4
            for a stack [4, 84, 84]. Each distinct frame is then stored once, whatever rows and
            columns it is in. 0 stores values with their rows.
    """

    shape: tuple[int, ...] = ()
    dtype: DTypeLike = np.float32
    fill: float = 0
    frames: int = 0


Columns = Column | Mapping[str, "Columns"]  # a column, or some in a dict


class Sample(NamedTuple):
    """Rows drawn from a buffer.

    Attributes:
        data: column name -> array [n, *shape], or a dict of arrays where the column is one.
        index: where each row is stored, int64 [n]; give it to `feedback`, `read` and `write`.
        weight: importance weight of each row, float32 [n].
    """

    data: dict[str, Any]
    index: np.ndarray  # type: ignore[assignment]  # hides tuple.index, which no Sample needs
    weight: np.ndarray


class Memory(Protocol):
    """What every buffer offers; `Buffer` documents each member."""

    columns: dict[str, Column]

    @property
    def capacity(self) -> int: ...  # noqa: D102
    @property
    def seen(self) -> int: ...  # noqa: D102
    @property
    def drawable(self) -> int: ...  # noqa: D102
    @property
    def nbytes(self) -> int: ...  # noqa: D102
    @property
    def needs_feedback(self) -> bool: ...  # noqa: D102
    def __len__(self) -> int: ...
    def add(self, rows: Mapping[str, ArrayLike]) -> np.ndarray: ...  # noqa: D102
    def sample(self, n: int, out: Mapping[str, np.ndarray] | None = None) -> Sample: ...  # noqa: D102
    def feedback(self, index: np.ndarray, td_error: np.ndarray) -> None: ...  # noqa: D102
    def idle(self) -> str | None: ...  # noqa: D102
    def end_task(self) -> None: ...  # noqa: D102
    def clear(self) -> None: ...  # noqa: D102
    def read(self, index: ArrayLike) -> dict[str, np.ndarray]: ...  # noqa: D102
    def write(self, index: ArrayLike, **columns: ArrayLike) -> None: ...  # noqa: D102
    def rows(self, task: int | None = None) -> np.ndarray: ...  # noqa: D102
    def waiting(self, column: str) -> np.ndarray: ...  # noqa: D102
    def ages(self) -> np.ndarray: ...  # noqa: D102
    def describe(self) -> dict[str, Any]: ...  # noqa: D102
    def state_dict(self) -> dict[str, Any]: ...  # noqa: D102
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...  # noqa: D102


def needs_of(*kinds: Callable[..., Memory] | None) -> dict[str, Column]:
    """Extra columns that memories of these kinds, or what chooses their rows, make use of."""
    return {name: column for kind in kinds for name, column in getattr(kind, "needs", {}).items()}


def make_columns(
    state: Columns, action: Column, extra: Mapping[str, Columns] | None
) -> dict[str, Column]:
    """Join the caller's columns with the standard ones, dtypes made canonical.

    Columns in a dict are named by their path, such as `state.image`.
    """
    columns: dict[str, Columns] = {
        "state": state,
        "action": action,
        "reward": Column(),
        "next_state": state,
        "done": Column((), np.bool_),
        "truncated": Column((), np.bool_),
        "task": Column((), np.int32),
    }
    for name in extra or {}:
        if name in columns:
            raise ValueError(f"extra column {name!r} exists already; choose another name")
    columns |= extra or {}
    _check_dots(columns)
    return {name: _canonical(name, column) for name, column in flat(columns).items()}


def _check_dots(columns: Mapping[str, Columns]) -> None:
    for name, column in columns.items():
        if isinstance(column, Mapping):
            _check_dots(column)
        if "." in str(name):
            raise ValueError(f"column {name!r}: expected a name without a dot; dicts make these")


def _canonical(name: str, column: Column) -> Column:
    dtype = np.dtype(column.dtype)
    if dtype.kind not in "biuf":
        raise ValueError(f"column {name!r}: expected a bool, int or float dtype, given {dtype}")
    shape, frames = tuple(column.shape), column.frames
    if frames and (frames < 0 or not math.prod(shape) or not shape or shape[0] % frames):
        raise ValueError(f"column {name!r}: a value {list(shape)} is not {frames} frames")
    return Column(shape, dtype, column.fill, frames)


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


def bounded(sample: Sample) -> Sample:
    """Divide the weights by the largest, so that they only make steps smaller."""
    largest = sample.weight.max(initial=0)
    return sample if largest == 1 else sample._replace(weight=sample.weight / largest)


def _castable(given: np.dtype, dtype: np.dtype) -> bool:
    return given == dtype or np.can_cast(given, dtype, "same_kind")


def _as_array(name: str, values: ArrayLike) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError:
        raise ValueError(f"column {name!r}: expected an array, given a ragged list") from None
