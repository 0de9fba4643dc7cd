"""Facility location: every row is near to a chosen one on average (Mirzasoleiman et al., 2020)."""

import numpy as np
from numpy.typing import ArrayLike

from buffers.selection.points import Points

AT_ONCE = 8  # gains computed in one product; one by one takes twice as long


def facility_location(
    features: ArrayLike, k: int, *, weight: ArrayLike = 1.0, gain: np.ndarray | None = None
) -> np.ndarray:
    """Choose, again and again, the row that most shortens the others' way to a chosen one.

    Maximises the sum over rows of weight * (L - distance to the nearest chosen row), where L, the
    largest distance there is, is what a row pays before anything is chosen: the objective of CRAIG
    (Mirzasoleiman, Bilmes and Leskovec, 2020), on features rather than gradients. The result is
    worth at least 1 - 1/e of the best there is (Nemhauser, Wolsey and Fisher, 1978).
    Lazy (Minoux, 1978): a row's gain only falls, so that most need not be computed again. Costs
    (d + 4) n^2 operations and some n (d + 6) for each gain computed, of which there are 5 to 15
    times k.

    Args:
        features: [n, d].
        k: rows to choose, 0 to n.
        weight: how many rows each row counts for, [n] or one number.
        gain: takes how much each choice added to the sum, [k].

    Returns:
        int64 [k], in the order chosen.
    """
    points = Points(features, k)
    n, index = len(points), np.empty(k, np.int64)
    weights = np.broadcast_to(np.asarray(weight, np.float32), n).copy()
    paid, farthest = np.empty(n, np.float32), np.float32(0)
    for part, squared in points.blocks(np.arange(n)):
        distance = _root(squared)
        paid[part] = distance @ weights
        farthest = max(farthest, distance.max(initial=0))
    bound = farthest * weights.sum() - paid  # on every row's gain, from above
    distance = np.full(n, farthest)  # to the nearest chosen row
    for i in range(k):
        some = min(AT_ONCE, n - i)  # none that is chosen already
        while True:
            rows = bound.argpartition(n - some)[n - some :]
            ((_, squared),) = points.blocks(rows)
            saved = np.maximum(distance - _root(squared), 0)
            bound[rows] = saved @ weights
            best = int(bound[rows].argmax())
            if bound[rows[best]] >= bound.max():
                break
        index[i] = rows[best]
        distance -= saved[best]
        if gain is not None:
            gain[i] = bound[index[i]]
        bound[index[i]] = -np.inf
    return index


def _root(squared: np.ndarray) -> np.ndarray:
    """Distances from squared ones, in place; rounding may have taken these below 0."""
    np.maximum(squared, 0, out=squared)
    return np.sqrt(squared, out=squared)
