"""Which rows of a sample each part of a mixture draws, and where it puts them."""

from typing import NamedTuple

import numpy as np

from buffers.columns import Sample
from buffers.layout import Batch, Layout

DEALS = 16  # remembered at most: each holds as many rows as it deals


class Deal(NamedTuple):
    """How the rows of a sample are dealt to the parts.

    Attributes:
        hands: of each part that gets some its number, how many, and their place in `rows`.
        rows: drawn by the parts, those of one after those of the other.
        numbers: of the part that draws each of them.
        order: which of them is each row of the sample.
    """

    hands: list[tuple[int, int, Batch]]
    rows: Batch
    numbers: np.ndarray
    order: np.ndarray

    def collect(self, whole: Batch, parts: np.ndarray) -> Sample:
        """Put the rows that the `parts` parts have drawn into the order of the sample."""
        drawn, sample = self.rows.sample(), whole.sample()
        np.multiply(drawn.index, parts, out=drawn.index)
        np.add(drawn.index, self.numbers, out=drawn.index)
        pairs = zip((*self.rows.records, *drawn[1:]), (*whole.records, *sample[1:]), strict=True)
        for values, target in pairs:
            values.take(self.order, out=target, mode="clip")  # the default would fill a copy of it
        return sample


class Dealer:
    """Deals samples to parts, and what was dealt once again: to deal takes a while.

    Args:
        layout: of a row.
        shares: of a sample, for each part; they sum to 1.
    """

    def __init__(self, layout: Layout, shares: np.ndarray) -> None:
        self._layout, self._shares = layout, shares
        self._deals: dict[tuple[int, tuple[bool, ...]], Deal] = {}

    def __reduce__(self) -> tuple[type, tuple[Layout, np.ndarray]]:
        return Dealer, (self._layout, self._shares)  # views would come back as copies

    def deal(self, n: int, can: tuple[bool, ...]) -> Deal:
        """Deal `n` rows to those parts that can be drawn from; there are some."""
        if (dealt := self._deals.get((n, can))) is None:
            if len(self._deals) >= DEALS:
                self._deals.clear()
            shares = np.where(can, self._shares, 0.0)
            shares = shares if shares.any() else np.array(can, float)
            dealt = self._deals[n, can] = self._dealt(shares / shares.sum(), n)
        return dealt

    def _dealt(self, shares: np.ndarray, n: int) -> Deal:
        hands = turns(shares, n)
        counts = [len(rows) for rows in hands]
        ends = np.cumsum(counts).tolist()
        place = np.empty(n, np.int64), np.empty(n, np.float32)
        whole = Batch(self._layout, self._layout.batch(n).records, place)
        places = [
            (number, rows, whole.some(slice(end - rows, end)))
            for number, (rows, end) in enumerate(zip(counts, ends, strict=True))
            if rows
        ]
        numbers = np.repeat(np.arange(len(hands)), counts)
        return Deal(places, whole, numbers, np.argsort(np.concatenate(hands)))


def turns(shares: np.ndarray, n: int) -> list[np.ndarray]:
    """Deal `n` rows to parts, each row to the part that is furthest behind its share.

    Returns:
        For each part the rows that are its own, ascending.
    """
    given = np.zeros(len(shares))
    dealt = np.empty(n, np.int64)
    for row in range(n):
        behind = np.round((row + 1) * shares - given, 9)  # 0.1 * 3 is not 0.3: ties need rounding
        dealt[row] = np.argmax(behind)
        given[dealt[row]] += 1
    return [np.flatnonzero(dealt == part) for part in range(len(shares))]
