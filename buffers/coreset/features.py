"""Where a coreset's features come from: the state and the action, a column, or a function."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from buffers import saved
from buffers.columns import Column
from buffers.nested import flat, nested, root

Source = str | Callable[[Mapping[str, Any]], ArrayLike] | None


class Features:
    """Turns rows into points, [n, d].

    Without a source a point is the state, flattened, and the action. Both are normalised by the
    mean and the deviation of all that was observed, but for a whole-number action, which counts as
    a choice: it becomes one column per value present, 1 for the row's own, so that unlike actions
    are as far apart as 1.4 deviations of one number. A column or the result of a function is used
    as it is.

    Args:
        columns: name -> Column of the rows to come.
        source: name of the column that holds features, such as `goal` or `state.speed`, or
            `f(rows) -> [n, d]`, such as a network's last hidden layer; `rows` has every column,
            [n, ...], states that are dicts as such.

    Attributes:
        needs: names of the columns that `of` reads.
        choice: whether the action is one whole number.

    Raises:
        ValueError: there is no such column.
    """

    def __init__(self, columns: Mapping[str, Column], source: Source) -> None:
        if isinstance(source, str) and source not in columns:
            raise ValueError(f"no column {source!r} holds features; there are {sorted(columns)}")
        self._source = source
        action = columns["action"]
        self.choice = np.dtype(action.dtype).kind in "biu" and action.shape == ()
        state = [name for name in columns if root(name) == "state"]
        self._measured = state if self.choice else [*state, "action"]
        self.needs = [*state, "action"] if source is None else list(columns)
        if isinstance(source, str):
            self.needs = [source]
        shapes = [] if source else [columns[name].shape for name in self._measured]
        width = int(sum(np.prod(shape, dtype=int) for shape in shapes))
        self._count = 0
        self._mean, self._square = np.zeros(width), np.zeros(width)  # sum of squared deviations

    def observe(self, rows: Mapping[str, np.ndarray]) -> None:
        """Let these rows' states and actions count in mean and deviation (Chan et al., 1983)."""
        if self._source is not None or not len(rows["action"]):
            return
        values = self._numbers(rows)
        n, total = len(values), self._count + len(values)
        mean = values.mean(axis=0)
        apart = mean - self._mean
        self._square += np.square(values - mean).sum(axis=0) + apart**2 * (self._count * n / total)
        self._mean += apart * (n / total)
        self._count = total

    def of(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        """Points of these rows, [n, d].

        Raises:
            ValueError: the function gave something else.
        """
        if callable(self._source):
            return self._checked(np.asarray(self._source(nested(rows))), len(rows["action"]))
        if self._source is not None:
            values = rows[self._source]
            return values.reshape(len(values), -1)
        deviation = np.sqrt(self._square / max(self._count, 1))
        scaled = (self._numbers(rows) - self._mean) / np.where(deviation > 0, deviation, 1)
        return np.column_stack([scaled, self._one_hot(rows["action"])]) if self.choice else scaled

    def check(self, rows: Mapping[str, np.ndarray]) -> None:
        """Raise ValueError where a column that holds features is not finite."""
        if isinstance(self._source, str) and not np.isfinite(rows[self._source]).all():
            raise ValueError(f"column {self._source!r}: expected finite features, given NaN")

    def clear(self) -> None:
        """Forget mean and deviation."""
        self._count = 0
        self._mean[:] = self._square[:] = 0

    def save(self) -> dict[str, Any]:
        """Copy mean and deviation into a flat dict."""
        moments = {"mean": self._mean.copy(), "square": self._square.copy()}
        return {"observed": self._count, **moments}

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Raise ValueError unless `state` is such as `save` returns."""
        saved.check_counters(state, "observed")
        for name in ("mean", "square"):
            saved.check_array(state, name, self._mean.shape, self._mean.dtype)

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over a checked state."""
        self._count = state["observed"]
        self._mean[:], self._square[:] = state["mean"], state["square"]

    def _numbers(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        """What is normalised: float64 [n, numbers]."""
        n = len(rows["action"])
        flat = [rows[name].reshape(n, -1).astype(np.float64) for name in self._measured]
        return flat[0] if len(flat) == 1 else np.concatenate(flat, axis=1)

    @staticmethod
    def _one_hot(action: np.ndarray) -> np.ndarray:
        values, chosen = np.unique(action, return_inverse=True)
        return np.eye(len(values), dtype=np.float32)[chosen]

    @staticmethod
    def _checked(values: np.ndarray, n: int) -> np.ndarray:
        if values.ndim != 2 or len(values) != n:
            raise ValueError(f"features: expected [{n}, d], given {list(values.shape)}")
        return values


def states(rows: Mapping[str, Any]) -> np.ndarray:
    """The states alone, normalised over these rows: a function to give as `features`, [n, d]."""
    leaves = flat({"state": rows["state"]}).values()
    values = np.concatenate([v.reshape(len(v), -1).astype(np.float64) for v in leaves], axis=1)
    deviation = values.std(axis=0)
    scaled: np.ndarray = (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    return scaled
