"""Coverage maximisation: few rows have neighbours (Isele and Cosgun, 2018)."""

import numpy as np
from numpy.typing import ArrayLike

from buffers.selection.points import Points


def max_coverage(
    features: ArrayLike,
    k: int,
    *,
    rng: np.random.Generator,
    radius: float | None = None,
    gain: np.ndarray | None = None,
) -> np.ndarray:
    """Drop, again and again, the row that has most neighbours, until `k` are left.

    Isele and Cosgun (2018), section "Coverage Maximization"; they rank rows as they come, here all
    `n` are ranked anew. Among equals one is dropped at random. Costs (n / 2 + n - k) (d + 4) n
    operations.

    Args:
        features: [n, d].
        k: rows to choose, 0 to n.
        rng: breaks ties.
        radius: rows nearer than this are neighbours; by default half the root mean square of the
            rows' distances to their mean, which is half a deviation in every dimension.
        gain: takes minus the number of each row's neighbours among the chosen, [k].

    Returns:
        int64 [k], those with fewest neighbours first.
    """
    points = Points(features, k)
    n, reach = len(points), float(points.norm.mean()) / 4 if len(points) else 0.0
    reach = reach if radius is None else radius**2
    near = _neighbours(points, reach) + rng.random(n)  # below 1: decides among equals only
    for _ in range(n - k):
        row = int(near.argmax())
        near -= points.squared(row) < reach
        near[row] = -np.inf
    index = np.argsort(near, kind="stable")[n - k :]
    if gain is not None:
        gain[:] = np.minimum(1 - np.floor(near[index]), 0)  # a row is not its own neighbour
    return index


def _neighbours(points: Points, reach: float) -> np.ndarray:
    """How many rows are nearer to each than this, squared; itself among them, float64 [n]."""
    near, one = np.zeros(len(points)), np.ones(len(points), np.float32)
    for first, squared in points.pairs(np.arange(len(points))):
        # Products count sooner than NumPy counts, and exactly: at most 2**24 at a time.
        inside, end = (squared < reach).astype(np.float32), first + len(squared)
        near[first:end] += inside @ one[first:]
        near[end:] += one[: len(squared)] @ inside[:, len(squared) :]
    return near
