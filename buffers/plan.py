"""Which rows of a stream are to be kept, and where: drawn ahead, for many at once."""

import numpy as np


class Plan:
    """Places in a stream, ascending, and the slot that the row at each goes to.

    The last one may be no row to keep (slot -1): it says how far the plan goes.

    Args:
        places: int64 [n].
        slots: int64 [n], -1 for nowhere.

    Attributes:
        due: no row before this place is kept.
        end: the last place, -1 if there is none: what is kept after it is not known yet.
    """

    def __init__(self, places: np.ndarray, slots: np.ndarray) -> None:
        kept = slots >= 0
        kept[-1:] = True
        self._places, self._slots, self._done = places[kept], slots[kept], 0
        self.due = int(self._places[0]) if len(places) else 0
        self.end = int(places[-1]) if len(places) else -1

    def rest(self) -> tuple[np.ndarray, np.ndarray]:
        """The places that are still to come, and their slots."""
        return self._places[self._done :].copy(), self._slots[self._done :].copy()

    def few(self, end: int, most: int) -> bool:
        """Whether at most `most` rows before place `end` are kept; finding out how many is slow."""
        last = self._done + most
        return last >= len(self._places) or self._places.item(last) >= end

    def take(self, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Take out what is planned before place `end`: places and slots."""
        now = slice(self._done, int(self._places.searchsorted(end)))
        self._done, self.due = now.stop, self._places.item(now.stop)
        return self._places[now], self._slots[now]

    def take_few(self, end: int) -> list[tuple[int, int]]:
        """Take out the same in pairs, which for a few is sooner."""
        pairs, done = [], self._done
        while (place := self._places.item(done)) < end:
            pairs.append((place, self._slots.item(done)))
            done += 1
        self._done, self.due = done, place
        return pairs

    def take_one(self) -> int:
        """Take out the next one; return its slot. It must not be the last."""
        slot = self._slots.item(self._done)
        self._done += 1
        self.due = self._places.item(self._done)
        return slot
