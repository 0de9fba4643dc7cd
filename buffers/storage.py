"""The arrays of a buffer: one per column, all indexed by slot. It knows nothing of what to keep."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from buffers.columns import Column, check_names
from buffers.state import check_array


class Storage:
    """Rows in slots.

    Attributes:
        data: column name -> array [slots, *shape].
        born: rows the buffer had been offered before the one in each slot, int64 [slots].
    """

    def __init__(self, columns: Mapping[str, Column], slots: int) -> None:
        self.data = {k: np.zeros((slots, *c.shape), c.dtype) for k, c in columns.items()}
        self.born = np.zeros(slots, np.int64)

    def __len__(self) -> int:
        return len(self.born)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, filled or not."""
        return self.born.nbytes + sum(values.nbytes for values in self.data.values())

    def block(self, first: int, slots: int) -> "Storage":
        """`slots` slots from `first` on as a storage of their own that shares these arrays."""
        part = Storage({}, 0)
        part.data = {name: values[first : first + slots] for name, values in self.data.items()}
        part.born = self.born[first : first + slots]
        return part

    def move(self, slots: np.ndarray, first: int = 0) -> None:
        """Move the row of slots[i] to slot `first` + i."""
        for values in (self.born, *self.data.values()):
            values[first : first + len(slots)] = values[slots]

    def grow(self, slots: int) -> None:
        """Append empty slots, `slots` in all."""
        more = slots - len(self)
        data = {
            k: np.concatenate([v, np.zeros_like(v, shape=(more, *v.shape[1:]))])
            for k, v in self.data.items()
        }
        self.born = np.concatenate([self.born, np.zeros(more, np.int64)])
        self.data = data

    def put(self, slots: np.ndarray, rows: Mapping[str, np.ndarray], seen: int) -> None:
        """Write row i of every column, born at `seen + i`, to slots[i], unless that is -1."""
        kept = slots >= 0
        chosen = slice(None) if kept.all() else kept
        target = slots[chosen]
        for name, values in rows.items():
            self.data[name][target] = values[chosen]
        self.born[target] = np.arange(seen, seen + len(slots))[chosen]

    def take(
        self, slots: np.ndarray, out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Copy the rows in `slots`, into the arrays of `out` and only its columns if given."""
        if out is None:
            return {name: values.take(slots, axis=0) for name, values in self.data.items()}
        check_names(out, (), self.data)
        for name, target in out.items():  # "clip": the default mode would fill a copy of `target`
            self.data[name].take(slots, axis=0, out=target, mode="clip")
        return dict(out)

    def overwrite(self, slots: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
        """Write some columns of the rows in `slots`."""
        last = last_writes(slots)
        kept = last >= 0
        for name, values in columns.items():
            self.data[name][last[kept]] = values[kept]

    def save(self, slots: np.ndarray) -> dict[str, Any]:
        """Copy the rows in `slots` into a flat dict."""
        return {"born": self.born[slots]} | {f"column.{k}": v[slots] for k, v in self.data.items()}

    def keys(self) -> list[str]:
        """Return the keys of what `save` returns."""
        return ["born", *(f"column.{name}" for name in self.data)]

    def check(self, state: Mapping[str, Any], rows: int) -> None:
        """Raise ValueError unless `state` holds `rows` rows of these columns."""
        check_array(state, "born", (rows,), self.born.dtype)
        for name, values in self.data.items():
            check_array(state, f"column.{name}", (rows, *values.shape[1:]), values.dtype)

    def load(self, slots: np.ndarray, state: Mapping[str, Any]) -> None:
        """Write the checked rows of `state` into `slots`."""
        self.born[slots] = state["born"]
        for name, values in self.data.items():
            values[slots] = state[f"column.{name}"]


def last_writes(slots: np.ndarray) -> np.ndarray:
    """Return `slots` with -1 where a later row goes to the same slot.

    NumPy promises no order for repeated indices in one assignment: two columns of one slot could
    otherwise come from different rows.
    """
    if len(set(slots.tolist())) == len(slots):
        return slots
    last = len(slots) - 1 - np.unique(slots[::-1], return_index=True)[1]
    kept = np.full_like(slots, -1)
    kept[last] = slots[last]
    return kept
