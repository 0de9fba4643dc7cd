"""Facility location: every row is near to a chosen one on average (Mirzasoleiman et al., 2020)."""

import numpy as np
from numpy.typing import ArrayLike

from buffers.selection.cover import Cover
from buffers.selection.neighbours import Neighbours, root
from buffers.selection.points import Points, weights_of

FIRST = 32  # one of so many rows is chosen before the neighbours are listed: some 30 for each row


def facility_location(
    features: ArrayLike,
    k: int,
    *,
    weight: ArrayLike = 1.0,
    gain: np.ndarray | None = None,
    sample: int = 256,
) -> np.ndarray:
    """Choose, again and again, the row that most shortens the others' way to a chosen one.

    Maximises the sum over rows of weight * (L - distance to the nearest chosen row), where L, the
    largest distance there is, is what a row pays before anything is chosen: the objective of CRAIG
    (Mirzasoleiman, Bilmes and Leskovec, 2020), on features rather than gradients. The result is
    worth at least 1 - 1/e of the best there is (Nemhauser, Wolsey and Fisher, 1978).

    Copies count as one row, and come last. Once a few rows are chosen, a row is worth something to
    its neighbours only, and these are listed: then the gains of all rows are known at all times.
    Deviation: the first n / 32 rows, while everything matters to everything, are those worth most
    to a sample of all rows, each as likely as its weight; their gains are exact. Costs
    n^2 (d + 6) / 2 operations, some 30 n for each doubling of the chosen, 25 calls of NumPy for
    some 7 choices, and 2 kB of memory a row.

    Distances below a thirtieth of the largest distance to the mean are rounded, by up to that of
    float32's sum of squares: of clusters that are tiny beside what lies between them, rows are
    chosen no better than by chance.

    Args:
        features: [n, d].
        k: rows to choose, 0 to n.
        weight: how many rows each row counts for, [n] or one number.
        gain: takes how much each choice added to the sum, [k].
        sample: rows by which the first ones are chosen; take more where `k` is not much more than
            n / 32. With `n` every choice is the best next one, and the memory grows as n^2; so it
            may where a few weights are far larger than the others.

    Returns:
        int64 [k], in the order chosen.

    Raises:
        ValueError: a weight is negative or not finite, or all are 0.
    """
    points = Points(features, k)
    rows, kind = points.distinct()
    counts = weights_of(weight, len(points))
    weights = np.bincount(kind, counts, len(rows))
    chosen, worth = _greedy(points.some(rows), min(k, len(rows)), weights, sample)
    if gain is not None:
        gain[:] = 0
        gain[: len(worth)] = worth
    copies = np.delete(np.arange(len(points)), rows)
    return np.concatenate([rows[chosen], copies])[:k]


def _greedy(
    points: Points, k: int, weights: np.ndarray, sample: int
) -> tuple[np.ndarray, np.ndarray]:
    """`k` rows, no two of which are copies, and what each added to the sum."""
    index, worth = np.empty(k, np.int64), np.empty(k)
    if k == 0:
        return index, worth
    done = min(k, max(1, len(points) // FIRST))
    distance = _first(points, weights, index[:done], worth, sample)
    neighbours = Neighbours(points, distance)
    worth[0] = weights @ (neighbours.farthest - points.distances(index[0]))
    cover = Cover(neighbours, weights, distance, index[:done])
    while done < k:
        best, gains = cover.choose(k - done)
        index[done : done + len(best)], worth[done : done + len(best)] = best, gains
        done += len(best)
    return index, worth


def _first(
    points: Points, weights: np.ndarray, index: np.ndarray, worth: np.ndarray, sample: int
) -> np.ndarray:
    """Choose rows by what they are worth to a sample.

    Returns:
        How far each row is from its nearest chosen one, float32 [n].
    """
    some, count = _drawn(weights, sample)
    apart = np.empty((len(some), len(points)), np.float32)
    for part, squared in points.blocks(some):
        apart[part] = root(squared)
    distance = np.full(len(points), 2 * np.sqrt(points.norm.max()))  # as far as can be
    gain = distance[0] * count.sum() - (count @ apart).astype(np.float64)
    for i in range(len(index)):
        best = index[i] = gain.argmax()
        before, distance = distance, np.minimum(distance, points.distances(best))
        worth[i] = weights @ (before - distance)
        nearer = distance[some] < before[some]
        old, new = before[some[nearer]], distance[some[nearer]]
        left = apart[nearer]
        np.maximum(left, new[:, None], out=left)
        np.minimum(left, old[:, None], out=left)
        gain -= count[nearer] @ old - count[nearer] @ left
        gain[best] = -np.inf
    return distance


def _drawn(weights: np.ndarray, sample: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows at even steps of the sum of all weights, and what each counts; or all rows."""
    if sample >= len(weights):
        return np.arange(len(weights)), weights.astype(np.float32)
    total = weights.cumsum()
    steps = (np.arange(sample) + 0.5) * (total[-1] / sample)
    rows, count = np.unique(total.searchsorted(steps), return_counts=True)
    return rows, count.astype(np.float32)
