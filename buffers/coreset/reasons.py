"""What a coreset knows of each of its rows, and why it is there."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from buffers.saved import check_array

# What holds of a row that was not chosen yet. An error that nobody has reported counts as 1: the
# gradient then points where the features do.
NEW = {
    "gain": np.float32(0),
    "weight": np.float64(1),
    "since": np.int64(-1),
    "error": np.float32(1),
}


class Reason(NamedTuple):
    """Why a row is in a coreset.

    Attributes:
        rule: the selection that chose it, or "new" while it waits for its first one.
        gain: what it was worth to the rule when that last chose; see the rule's function.
        weight: rows offered that it stands for, itself included.
        since: rows that the buffer had been offered when it was first chosen.
    """

    rule: str
    gain: float | None
    weight: float
    since: int | None


class Reasons:
    """Columns of what is known of the row in each slot; of an empty slot, what holds of a new row.

    So nothing is to be done when a row comes: that would be most of the time of a single one.
    """

    def __init__(self, slots: int) -> None:
        self._data = {name: np.full(slots, value) for name, value in NEW.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        return self._data[name]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(values.nbytes for values in self._data.values())

    def reset(self, slots: np.ndarray) -> None:
        """Take note that these slots are empty."""
        for name, value in NEW.items():
            self._data[name][slots] = value

    def choose(self, slots: np.ndarray, gain: np.ndarray, weight: np.ndarray, now: int) -> None:
        """Take note that a rule chose these, when `now` rows had been offered."""
        self._data["gain"][slots] = gain
        self._data["weight"][slots] = weight
        first = slots[self._data["since"][slots] < 0]
        self._data["since"][first] = now

    def move(self, slots: np.ndarray, capacity: int) -> None:
        """Have `capacity` slots; what was in slots[i] is in slot i."""
        for name, values in self._data.items():
            free = np.full(capacity - len(slots), NEW[name])
            self._data[name] = np.concatenate([values[slots], free])

    def of(self, slots: np.ndarray, rule: str) -> list[Reason]:
        """The reason of each of these rows."""
        columns = [self._data[name][slots].tolist() for name in ("gain", "weight", "since")]
        return [
            Reason("new", None, weight, None) if since < 0 else Reason(rule, gain, weight, since)
            for gain, weight, since in zip(*columns, strict=True)
        ]

    def describe(self, slots: np.ndarray) -> dict[str, Any]:
        """The least, median and greatest gain and weight of these rows; 0 if there are none."""
        return {name: _spread(self._data[name][slots]) for name in ("gain", "weight")}

    def save(self, slots: np.ndarray) -> dict[str, Any]:
        """Copy what is known of the rows in `slots` into a flat dict."""
        return {name: values[slots] for name, values in self._data.items()}

    def check(self, state: Mapping[str, Any], rows: int) -> None:
        """Raise ValueError unless `state` is such as `save` returns for `rows` rows."""
        for name, values in self._data.items():
            check_array(state, name, (rows,), values.dtype)

    def load(self, slots: np.ndarray, state: Mapping[str, Any]) -> None:
        """Write the checked state into `slots`."""
        for name, values in self._data.items():
            values[slots] = state[name]


def _spread(values: np.ndarray) -> dict[str, float]:
    some = values if len(values) else np.zeros(1)
    return {"min": float(some.min()), "median": float(np.median(some)), "max": float(some.max())}
