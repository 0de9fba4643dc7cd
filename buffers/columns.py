"""What a row consists of, and what is drawn."""

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from buffers.nested import flat

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
    if not isinstance(column, Column):
        raise ValueError(f"column {name!r}: expected a Column, given {column!r}")
    shape, dtype, frames = _shape_of(name, column), _dtype_of(name, column), column.frames
    if frames and (frames < 0 or not math.prod(shape) or not shape or shape[0] % frames):
        raise ValueError(f"column {name!r}: a value {list(shape)} is not {frames} frames")
    _check_fill(name, dtype, column.fill)
    return Column(shape, dtype, column.fill, frames)


def _shape_of(name: str, column: Column) -> tuple[int, ...]:
    try:
        shape = tuple(map(operator.index, column.shape))
    except TypeError:
        shape = (-1,)
    if min(shape, default=0) < 0:
        raise ValueError(f"column {name!r}: expected a shape such as (4,), given {column.shape!r}")
    return shape


def _dtype_of(name: str, column: Column) -> np.dtype:
    try:
        dtype = np.dtype(column.dtype)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "biuf":
        given = dtype if dtype.kind != "O" else column.dtype
        raise ValueError(f"column {name!r}: expected a bool, int or float dtype, given {given}")
    return dtype


def _check_fill(name: str, dtype: np.dtype, fill: float) -> None:
    """Raise ValueError where the fill would become another value; floats may be rounded."""
    try:
        given = np.asarray(float(fill) if dtype.kind == "f" else fill)
        with np.errstate(over="ignore", invalid="ignore"):
            stored = given.astype(dtype)
        lost = np.isinf(stored) != np.isinf(given) if dtype.kind == "f" else stored != given
    except (TypeError, ValueError, OverflowError):
        lost = np.True_
    if np.any(lost):
        raise ValueError(f"column {name!r}: expected a fill that fits {dtype}, given {fill!r}")


def bounded(sample: Sample) -> Sample:
    """Divide the weights by the largest, so that they only make steps smaller."""
    largest = sample.weight.max(initial=0)
    return sample if largest == 1 else sample._replace(weight=sample.weight / largest)
