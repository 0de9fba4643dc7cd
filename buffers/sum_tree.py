"""Slots drawn in proportion to whole numbers: a sum tree of two levels, wide instead of deep."""

import numpy as np


class SumTree:
    """A whole number in each slot, and draws in proportion to them.

    Schaul et al. (2016, appendix B.2.1) use a binary tree of floats. Here slots lie in blocks of
    about a sixteenth of the square root of their number, beside the sum of each block: a draw
    searches the running sum of the blocks and then one block, all draws together in a few array
    operations. Sums of whole numbers are exact in any order: none drifts however often it is
    changed, a slot is drawn with exactly its share of `total`, and one of 0 never.

    Args:
        slots: how many numbers; all are 0 at first.

    Attributes:
        total: their sum.
        largest: what no number may exceed, so that no sum overflows: a power of two.
    """

    def __init__(self, slots: int) -> None:
        self._shift = max(4, int(np.ceil(np.log2(slots) / 2)) - 4)
        blocks = -(-slots >> self._shift)
        self._blocks = np.zeros((blocks, 1 << self._shift), np.int64)
        self._values = self._blocks.reshape(-1)
        self._sums = np.zeros(blocks, np.int64)
        self._ends: np.ndarray | None = None  # running sum of _sums, made when it is needed
        self.total = 0
        self.largest = 1 << (62 - (slots - 1).bit_length())

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self._values.nbytes + 2 * self._sums.nbytes

    def get(self, slots: np.ndarray) -> np.ndarray:
        """Return the numbers in `slots` [n], int64 [n]."""
        return self._values.take(slots)

    def set(self, slots: np.ndarray, values: np.ndarray) -> None:
        """Put values[i] into slots[i].

        Args:
            slots: [n], no slot twice.
            values: int64 [n].

        Raises:
            ValueError: a value is negative or above `largest`. Nothing is changed then.
        """
        self.check(values)
        change = values - self._values.take(slots)
        self._values[slots] = values
        np.add.at(self._sums, slots >> self._shift, change)
        self.total += int(change.sum())
        self._ends = None

    def check(self, values: np.ndarray) -> None:
        """Raise ValueError where a value is negative or above `largest`."""
        if len(values) and not (values.min() >= 0 and values.max() <= self.largest):
            wrong = values[(values < 0) | (values > self.largest)][0]
            raise ValueError(f"priority {wrong}: expected 0 to {self.largest}")

    def draw(self, where: np.ndarray) -> np.ndarray:
        """Find the slots at given places of the running sum of all numbers.

        Args:
            where: places as shares of `total` [n], from 0 to 1. Uniform ones draw each slot in
                proportion to its number, as finely as a float64 divides.

        Returns:
            Slots whose numbers are above 0, int64 [n].

        Raises:
            ValueError: all numbers are 0.
        """
        if not self.total:
            raise ValueError("all priorities are 0: nothing can be drawn in proportion to them")
        if self._ends is None:
            self._ends = self._sums.cumsum()
        place = np.minimum((where * self.total).astype(np.int64), self.total - 1)
        block = self._ends.searchsorted(place, side="right")
        place -= self._ends.take(block) - self._sums.take(block)
        ends = self._blocks.take(block, axis=0).cumsum(axis=1)
        return (block << self._shift) + (ends > place[:, None]).argmax(axis=1)
