"""Which rows of a sample each part of a mixture draws, and where it puts them."""

from typing import NamedTuple

import numpy as np

from buffers.layout import Batch, Layout


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


def deal(layout: Layout, shares: np.ndarray, n: int) -> Deal:
    """Deal `n` rows of that layout to parts with these shares, which sum to 1."""
    dealt = turns(shares, n)
    counts = [len(rows) for rows in dealt]
    ends = np.cumsum(counts).tolist()
    place = np.empty(n, np.int64), np.empty(n, np.float32)
    whole = Batch(layout, layout.batch(n).records, place)
    hands = [
        (number, rows, whole.some(slice(end - rows, end)))
        for number, (rows, end) in enumerate(zip(counts, ends, strict=True))
        if rows
    ]
    numbers = np.repeat(np.arange(len(dealt)), counts)
    return Deal(hands, whole, numbers, np.argsort(np.concatenate(dealt)))


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
