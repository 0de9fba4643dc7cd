"""Which rows are so near to which others that a choice of the one matters to the other."""

import numpy as np

from buffers.selection.points import Points


class Neighbours:
    """Pairs of rows nearer to each other than the reach of either, with their distances.

    A row is its own neighbour, at distance 0, if it reaches anywhere.

    Args:
        points: n rows.
        reach: how far each row reaches, float32 [n].

    Attributes:
        farthest: the largest distance of any two rows.
    """

    def __init__(self, points: Points, reach: np.ndarray) -> None:
        n, order = len(points), (-reach).argsort(kind="stable")
        squared_reach = np.square(reach[order])[:, None]
        rows, others, distances = [order[reach[order] > 0]], [], []
        farthest = np.float32(0)
        for first, squared in points.pairs(order):  # from those that reach farthest on
            place = np.flatnonzero(squared < squared_reach[first : first + len(squared)])
            row, other = np.divmod(place, n - first)
            once = (other > row).nonzero()[0]  # sooner than to index by bools that follow no rule
            rows.append(order.take(row.take(once) + first))
            others.append(order.take(other.take(once) + first))
            distances.append(root(squared.take(place.take(once))))
            farthest = max(farthest, squared.max())
        self.farthest = float(np.sqrt(farthest))
        own = np.zeros(len(rows[0]), np.float32)
        row = np.concatenate([*rows, *others])
        small = row.astype(np.min_scalar_type(max(n - 1, 0)))  # up to 16 bits are sorted fast
        by_row = small.argsort(kind="stable")
        self._others = np.concatenate([rows[0], *others, *rows[1:]]).take(by_row)
        self._distances = np.concatenate([own, *distances, *distances]).take(by_row)
        self._first = np.concatenate([[0], np.bincount(row, minlength=n).cumsum()])

    def __len__(self) -> int:
        """How many pairs."""
        return len(self._others)

    def shorten(self, reach: np.ndarray) -> None:
        """Forget the pairs that are within the reach of neither any more, [n]."""
        row = np.repeat(np.arange(len(reach)), np.diff(self._first))
        farther = np.maximum(reach.take(row), reach.take(self._others))
        near = (self._distances < farther).nonzero()[0]
        self._others, self._distances = self._others.take(near), self._distances.take(near)
        self._first[1:] = np.bincount(row.take(near), minlength=len(reach)).cumsum()

    def of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Neighbours of these rows, one after the other.

        Returns:
            For each of their neighbours whose it is, as a place in `rows`; which row it is; and
            how far it is.
        """
        first = self._first.take(rows)
        count = self._first.take(rows + 1) - first
        whose = np.arange(len(rows)).repeat(count)
        place = np.arange(len(whose)) + (first - count.cumsum() + count).repeat(count)
        return whose, self._others.take(place), self._distances.take(place)


def root(squared: np.ndarray) -> np.ndarray:
    """Distances from squared ones, in place; rounding may have taken these below 0."""
    np.maximum(squared, 0, out=squared)
    return np.sqrt(squared, out=squared)
