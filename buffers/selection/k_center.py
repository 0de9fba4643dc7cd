"""k-center: no row is far from a chosen one (Gonzalez, 1985; Sener and Savarese, 2018)."""

import numpy as np
from numpy.typing import ArrayLike

from buffers.selection.points import Points, many_chosen


def k_center(features: ArrayLike, k: int, *, gain: np.ndarray | None = None) -> np.ndarray:
    """Choose, again and again, the row that is farthest from all chosen so far.

    The greatest distance of any row to its nearest chosen one is then at most twice the least
    possible (Gonzalez, 1985). Every prefix of the result is the choice for a smaller `k`.
    Copies of a chosen row come last. Outliers come first: rows that are wrong are chosen too.

    Where Gonzalez starts with any row, this starts with the one nearest to the mean, so that the
    order of rows does not matter but among equals. Rows that are chosen are left out whenever they
    are a quarter of those looked at. Costs k (d + 4) (n - k / 2) operations.

    Args:
        features: [n, d].
        k: rows to choose, 0 to n.
        gain: takes each row's distance to those chosen before it, [k]; the first one's is that of
            the row farthest from it.

    Returns:
        int64 [k], in the order chosen.
    """
    points = Points(features, k)
    n, index = len(points), np.empty(k, np.int64)
    distance = np.full(len(points), np.inf, np.float32)  # squared, to the nearest chosen row
    squared = np.empty_like(distance)
    reach = np.zeros(k + 1, np.float32)
    left = np.arange(len(points))  # rows, but for chosen ones that were sorted out
    row = int(points.norm.argmin()) if k else 0
    for i in range(k):
        index[i] = left[row]
        np.minimum(distance, points.squared(row, squared), out=distance)
        distance[row] = -np.inf  # never again, not even where only copies are left
        if i + 1 < k and many_chosen(len(left), n - i - 1):
            kept = np.flatnonzero(distance > -np.inf)
            left, points, distance = left[kept], points.some(kept), distance[kept]
            squared = np.empty_like(distance)
        row = int(distance.argmax())
        reach[i + 1] = distance[row]
    if gain is not None:
        reach[0] = reach[min(k, 1)]
        gain[:] = np.sqrt(np.maximum(reach[:k], 0))
    return index
