"""Which slots hold chosen rows, which new ones, and which are free."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from buffers import saved


class CoresetSlots:
    """The slots of a coreset, in the order of use: those of chosen rows, of new rows, free ones.

    Args:
        capacity: number of slots, all free at first.
    """

    def __init__(self, capacity: int) -> None:
        self.clear(capacity)

    def clear(self, capacity: int) -> None:
        """Start again with `capacity` free slots."""
        self._order, self._place = np.arange(capacity), np.arange(capacity)  # inverse of each other
        self._chosen = self._used = 0

    def __len__(self) -> int:
        """How many hold a row."""
        return self._used

    @property
    def free(self) -> int:
        """How many hold none."""
        return len(self._order) - self._used

    @property
    def unused(self) -> np.ndarray:
        """Those that hold none."""
        return self._order[self._used :]

    @property
    def held(self) -> np.ndarray:
        """Those that hold a row: chosen rows, best first, then new rows as they came."""
        return self._order[: self._used]

    @property
    def chosen(self) -> np.ndarray:
        """Those that hold a chosen row, best first."""
        return self._order[: self._chosen]

    @property
    def new(self) -> np.ndarray:
        """Those that hold a row no choice was made of yet, as they came."""
        return self._order[self._chosen : self._used]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self._order.nbytes + self._place.nbytes

    def holds(self, slots: np.ndarray) -> np.ndarray:
        """Whether each of these slots holds a row, bool; one that there is not holds none."""
        inside = (slots >= 0) & (slots < len(self._order))
        held: np.ndarray = inside & (self._place[np.where(inside, slots, 0)] < self._used)
        return held

    def next_one(self) -> int:
        """The free slot that is used next; there is one."""
        return self._order.item(self._used)

    def next(self, n: int) -> np.ndarray:
        """The `n` free slots that are used next."""
        return self._order[self._used : self._used + n]

    def use(self, n: int) -> None:
        """Take note that new rows came into the `n` slots that were next."""
        self._used += n

    def settle(self, held: np.ndarray, chosen: int) -> None:
        """Take note that these slots are in use, the first `chosen` for chosen rows."""
        free = np.ones(len(self._order), bool)
        free[held] = False
        self._order = np.concatenate([held, np.flatnonzero(free)])
        self._place[self._order] = np.arange(len(self._order))
        self._chosen, self._used = chosen, len(held)

    def compact(self, capacity: int) -> None:
        """Take note that the rows are in the first of `capacity` slots now, in order of `held`."""
        chosen, used = self._chosen, self._used
        self.clear(capacity)
        self._chosen, self._used = chosen, used

    def save(self) -> dict[str, Any]:
        """Copy what is in use into a flat dict."""
        return {"chosen": self._chosen, "order": self.held.copy()}

    def check(self, state: Mapping[str, Any], most: int) -> int:
        """Raise ValueError unless `state` is sound and of at most `most` rows; return these."""
        saved.check_counters(state, "chosen")
        order = state["order"]
        rows = len(order) if isinstance(order, np.ndarray) else 0
        saved.check_array(state, "order", (rows,), self._order.dtype)
        sound = state["chosen"] <= rows <= most and len(set(order.tolist())) == rows
        if not sound or not ((order >= 0) & (order < len(self._order))).all():
            raise ValueError(f"state has {rows} rows in no sound order of at most {most} slots")
        return rows

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over a checked state."""
        self.settle(state["order"], state["chosen"])
