"""Slots drawn in proportion to whole numbers: a sum tree of two levels, wide instead of deep."""

import numpy as np

from buffers import compiled


class SumTree:
    """A whole number in each slot, and draws in proportion to them.

    Schaul et al. (2016, appendix B.2.1) use a binary tree of floats. Here slots lie in blocks of
    about a sixteenth of the square root of their number, beside the sum of each block: a draw
    searches the running sum of the blocks and then one block, all draws together in a few array
    operations. Sums of whole numbers are exact in any order: none drifts however often it is
    changed, a slot is drawn with exactly its share of `total`, and one of 0 never.

    Args:
        slots: how many numbers; all are 0 at first.
        fast: whether to use numba if it is installed; what comes out is the same.

    Attributes:
        total: their sum.
        largest: what no number may exceed, so that no sum overflows: a power of two.
    """

    def __init__(self, slots: int, *, fast: bool = True) -> None:
        width = 2 ** max(4, int(np.ceil(np.log2(slots) / 2)) - 4)
        self._blocks = np.zeros((-(-slots // width), width), np.int64)
        self._sums = np.zeros(len(self._blocks), np.int64)
        self._put, self._find = (compiled.loops() if fast else None) or (put, find)
        self.total = 0
        self.largest: int = 2 ** (62 - (slots - 1).bit_length())

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self._blocks.nbytes + self._sums.nbytes

    def get(self, slots: np.ndarray) -> np.ndarray:
        """Return the numbers in `slots` [n], int64 [n]."""
        return self._blocks.reshape(-1).take(slots)

    def set(self, slots: np.ndarray, values: np.ndarray) -> None:
        """Put values[i], int64 [n], into slots[i], int64 [n]; repeats: last wins.

        Raises:
            ValueError: a value is negative or above `largest`. Nothing is changed then.
        """
        self.check(values)
        self.total += int(self._put(self._blocks, self._sums, slots, values))

    def check(self, values: np.ndarray) -> None:
        """Raise ValueError where a value is negative or above `largest`."""
        if values.view(np.uint64).max(initial=0) > self.largest:  # negative ones are huge there
            wrong = values[(values < 0) | (values > self.largest)][0]
            raise ValueError(f"priority {wrong}: expected 0 to {self.largest}")

    def draw(self, where: np.ndarray) -> np.ndarray:
        """Find the slots at given places of the running sum of all numbers.

        Args:
            where: places as shares of `total` [n], from 0 to 1, ascending. Uniform ones draw each
                slot in proportion to its number, as finely as a float64 divides.

        Returns:
            Slots whose numbers are above 0, int64 [n], ascending.

        Raises:
            ValueError: all numbers are 0.
        """
        if not self.total:
            raise ValueError("all priorities are 0: nothing can be drawn in proportion to them")
        places = np.minimum((where * self.total).astype(np.int64), self.total - 1)
        return self._find(self._blocks, self._sums, places)


def put(blocks: np.ndarray, sums: np.ndarray, slots: np.ndarray, values: np.ndarray) -> int:
    """Put values[i] into slots[i], the last of repeats; return the change of the whole sum."""
    slots, values = last_of_each(slots, values)
    change = values - blocks.reshape(-1).take(slots)
    blocks.reshape(-1)[slots] = values
    np.add.at(sums, slots // blocks.shape[1], change)
    return int(change.sum())


def find(blocks: np.ndarray, sums: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Find the slots whose parts of the running sum contain `places` [n], ascending."""
    ends = sums.cumsum()
    block = ends.searchsorted(places, side="right")
    within = places - (ends.take(block) - sums.take(block))
    slot = (blocks.take(block, axis=0).cumsum(axis=1) > within[:, None]).argmax(axis=1)
    return block * blocks.shape[1] + slot


def last_of_each(slots: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the slots, each once, with the last of its values."""
    n = len(slots)
    slot, turn = np.divmod(np.sort(slots * n + np.arange(n)), max(n, 1))
    last = np.append(slot[1:] != slot[:-1], True)[:n]
    return slot[last], values[turn[last]]
