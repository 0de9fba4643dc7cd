"""Herding: the mean of the chosen rows is that of all (Welling, 2009; Rebuffi et al., 2017)."""

import numpy as np
from numpy.typing import ArrayLike

from buffers.selection.points import Points, many_chosen, weights_of


def herding(
    features: ArrayLike, k: int, *, weight: ArrayLike = 1.0, gain: np.ndarray | None = None
) -> np.ndarray:
    """Choose, again and again, the row that brings the mean of the chosen nearest to that of all.

    Algorithm 4 of iCaRL (Rebuffi et al., 2017). Every prefix of the result is the choice for a
    smaller `k`. Deviations: a row is chosen once only, features are not scaled to length 1, and
    the mean can be that of rows that are no longer there, through `weight`. Chosen rows
    are left out whenever they are a quarter of those looked at. Costs k (d + 3) (n - k / 2)
    operations.

    Args:
        features: [n, d].
        k: rows to choose, 0 to n.
        weight: how many rows each row counts for in the mean, [n] or one number.
        gain: takes minus the distance between the two means after each choice, [k].

    Returns:
        int64 [k], in the order chosen.

    Raises:
        ValueError: a weight is negative or not finite, or all are 0.
    """
    points = Points(features, k)
    index = np.empty(k, np.int64)
    if k == 0:
        return index
    x, half = np.asfortranarray(points.x), points.norm / 2
    weights = weights_of(weight, len(points))
    mean = (weights @ points.x / weights.sum()).astype(np.float32)
    wanted = np.zeros_like(mean)  # that the mean be reached, the next row would have to be this
    n, left = len(points), np.arange(len(points))  # rows, but for chosen ones that were sorted out
    for i in range(k):
        wanted += mean
        # |wanted - x|^2 = |wanted|^2 - 2 (wanted x) + |x|^2
        row = int((half - x @ wanted).argmin())
        index[i] = left[row]
        half[row] = np.inf
        wanted -= x[row]
        if i + 1 < k and many_chosen(len(left), n - i - 1):
            kept = np.flatnonzero(half < np.inf)
            left, x, half = left[kept], np.asfortranarray(x[kept]), half[kept]
        if gain is not None:
            gain[i] = -np.sqrt(wanted @ wanted) / (i + 1)
    return index
