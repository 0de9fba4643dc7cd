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
    `n` are ranked anew. Among equals one is dropped at random. Costs (n + n - k) (d + 4) n
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
    near = np.empty(n)
    for part, squared in points.blocks(np.arange(n)):
        near[part] = np.count_nonzero(squared < reach, axis=1)
    near += rng.random(n)  # below 1: decides among equals only
    for _ in range(n - k):
        row = int(near.argmax())
        near -= points.squared(row) < reach
        near[row] = -np.inf
    index = np.argsort(near, kind="stable")[n - k :]
    if gain is not None:
        gain[:] = np.minimum(1 - np.floor(near[index]), 0)  # a row is not its own neighbour
    return index
