"""What each row would be worth as the next chosen one, kept up to date."""

import numpy as np

from buffers.selection.neighbours import Neighbours

POOL = 256  # rows among which the best are looked for until all have become worse than the others
OFTEN = 2  # times that all neighbours are read before those who do not matter are dropped
TOGETHER = 32  # at most so many choices at a time that do not touch each other
NOBODY = TOGETHER  # is none of these


class Cover:
    """Rows, each of which goes to its nearest chosen one.

    Args:
        neighbours: all rows that are nearer to a row than its nearest chosen one, at least.
        weights: how many rows each row counts for, [n].
        distance: of each row to its nearest chosen one, [n]; kept up to date in place.
        chosen: the rows chosen already.

    Attributes:
        gain: how much shorter all ways together become when a row is chosen, float64 [n]; -inf for
            those that are.
    """

    def __init__(
        self,
        neighbours: Neighbours,
        weights: np.ndarray,
        distance: np.ndarray,
        chosen: np.ndarray,
    ) -> None:
        self._neighbours, self._weights, self._distance = neighbours, weights, distance
        self._pool, self._least = np.empty(0, np.int64), 0.0
        self._read = 0
        n = len(distance)
        self._first = np.full(n, NOBODY)  # of rows looked at, which is worth something to each
        self.gain = np.zeros(n)
        self.gain += self._saved(np.arange(n), np.zeros(n, distance.dtype))
        self.gain[chosen] = -np.inf

    def choose(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Choose the next rows, best first, 1 to `most`; return these and their gains.

        A choice lessens the gains of those rows only that are worth something to the same others.
        So the best rows up to the first that shares others with one before it are what would be
        chosen one after the other.
        """
        rows = self._top(min(most, TOGETHER))
        whose, row, apart = self._near(rows)
        nearer = (apart < self._distance.take(row)).nonzero()[0]
        whose, row, apart = whose.take(nearer), row.take(nearer), apart.take(nearer)
        np.minimum.at(self._first, row, whose)
        shared = whose[whose > self._first.take(row)]
        self._first[row] = NOBODY
        alone = int(shared[0]) if len(shared) else len(rows)
        end = int(whose.searchsorted(alone))
        rows = rows[:alone]
        gain = self.gain[rows]
        self._bring(row[:end], apart[:end])
        self.gain[rows] = -np.inf
        return rows, gain

    def _top(self, n: int) -> np.ndarray:
        """The `n` rows of greatest gain, in order, or fewer."""
        gain = self.gain.take(self._pool)
        still = (gain >= self._least).nonzero()[0]
        if not len(still):
            others = max(len(self.gain) - POOL, 0)
            self._pool = self.gain.argpartition(others)[others:]
            gain = self.gain.take(self._pool)
            self._least = gain.min()  # no row outside has more, now or later
        elif len(still) < len(gain):
            self._pool, gain = self._pool.take(still), gain.take(still)
        return self._pool.take(gain.argsort()[: -n - 1 : -1])

    def _near(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `Neighbours.of`; those who do not matter any more are dropped now and then."""
        if self._read > OFTEN * len(self._neighbours):
            self._neighbours.shorten(self._distance)
            self._read = 0
        found = self._neighbours.of(rows)
        self._read += len(found[0])
        return found

    def _bring(self, rows: np.ndarray, distance: np.ndarray) -> None:
        """Take note that a chosen row is as near as this to each of these."""
        self.gain -= self._saved(rows, distance)
        self._distance[rows] = distance

    def _saved(self, rows: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """By how much the gains fall when `rows` are at this distance; all gains if it is 0."""
        whose, other, apart = self._near(rows)
        before = self._distance.take(rows).take(whose)
        np.maximum(apart, distance.take(whose), out=apart)  # sooner than `clip`
        np.minimum(apart, before, out=apart)
        saved = self._weights.take(rows).take(whose) * (before - apart)
        return np.bincount(other, saved, len(self._distance))
