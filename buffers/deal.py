"""Which rows of a sample each part of a mixture draws, and where it puts them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from buffers.columns import Sample
from buffers.layout import Batch, Layout

DEALS = 16  # remembered at most: each holds as many rows as it deals
Key = tuple[int, tuple[bool, ...], tuple[int, ...]]  # the last: of each part, if that varies
NOISE = 1e-9  # of a number of rows: 0.1 * 3 is not 0.3


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
        behind: see below; 0 at first.

    Attributes:
        behind: rows that each part has had too few of so far, where its share of a sample is no
            whole number of rows; those furthest behind get one more.
    """

    def __init__(
        self, layout: Layout, shares: np.ndarray, behind: Sequence[float] | None = None
    ) -> None:
        self._layout, self._shares = layout, shares
        self.behind = [0.0] * len(shares) if behind is None else [*behind]
        self._deals: dict[Key, Deal] = {}
        self._sharing: tuple[tuple[bool, ...], np.ndarray] = (), self._shares  # of the last deal

    def __reduce__(self) -> tuple[Any, ...]:  # views would come back as copies
        return Dealer, (self._layout, self._shares, self.behind)

    def deal(self, n: int, can: tuple[bool, ...]) -> Deal:
        """Deal `n` rows to those parts that can be drawn from; there are some."""
        key: Key = n, can, ()
        if (dealt := self._deals.get(key)) is not None:
            return dealt
        shares = self._among(can)
        wanted, behind = (shares * n).tolist(), self.behind
        if any(abs(rows - round(rows)) > NOISE for rows in wanted):
            counts, behind = self._in_turn(wanted, n)
            key, shares = (n, can, counts), np.array(counts) / n
        if key not in self._deals:
            dealt = self._dealt(shares, n)
            if len(self._deals) >= DEALS:
                del self._deals[next(iter(self._deals))]
            self._deals[key] = dealt
        self.behind = behind
        return self._deals[key]

    def _among(self, can: tuple[bool, ...]) -> np.ndarray:
        """The shares of those parts that can be drawn from, which sum to 1."""
        if self._sharing[0] != can:
            shares = np.where(can, self._shares, 0.0)
            shares = shares if shares.any() else np.array(can, float)
            self._sharing = can, shares / shares.sum()
        return self._sharing[1]

    def _in_turn(self, wanted: list[float], n: int) -> tuple[tuple[int, ...], list[float]]:
        """Whole rows for each part of a sample of `n`, which should be `wanted`; `behind` then."""
        counts = [int(rows + NOISE) for rows in wanted]
        behind = [b + rows - c for b, rows, c in zip(self.behind, wanted, counts, strict=True)]
        drawn = [part for part, rows in enumerate(wanted) if rows]
        for _ in range(n - sum(counts)):
            part = max(drawn, key=behind.__getitem__)
            counts[part] += 1
            behind[part] -= 1
        return tuple(counts), behind

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
        behind = np.round((row + 1) * shares - given, 9)  # ties need rounding
        dealt[row] = np.argmax(behind)
        given[dealt[row]] += 1
    return [np.flatnonzero(dealt == part) for part in range(len(shares))]
