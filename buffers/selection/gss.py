"""Gradient-based sample selection: gradients point many ways (Aljundi et al., 2019)."""

import numpy as np
from numpy.typing import ArrayLike

from buffers.selection.points import centred

OTHERS = 10  # rows that each row is compared with; the paper's n


def gss_greedy(
    features: ArrayLike,
    k: int,
    *,
    error: ArrayLike,
    action: ArrayLike = 0,
    rng: np.random.Generator,
    gain: np.ndarray | None = None,
) -> np.ndarray:
    """Give up rows whose gradients resemble others' for rows that resemble none.

    GSS-Greedy (Aljundi et al., 2019, algorithm 2): the first `k` rows are taken; each of the
    others, in their order, may take the place of a similar row if its own gradient makes an obtuse
    angle with those of all of 10 chosen rows drawn at random.

    The gradient is that of a linear last layer, q(s, a) = W[a] features(s), and of the squared or
    the Huber loss, in closed form: row `a` of W has -error * features, all others have 0. So the
    cosine of two gradients is that of their features, times the product of the signs of their
    errors, and 0 for unlike actions; no gradient is ever computed. Deviation: last layer only, and
    the 10 are drawn with replacement. Costs about n (10 d + k) operations.

    Args:
        features: what the last layer sees, [n, d]; a column of ones stands for its bias.
        k: rows to choose, 0 to n.
        error: temporal-difference error of each row, [n]; where 0, there is no gradient.
        action: the action of each row, whole numbers [n]; by default all are alike.
        rng: draws what to compare with, and what to replace.
        gain: takes minus the largest cosine that each row had when it was compared, [k].

    Returns:
        int64 [k], the least similar first.
    """
    centred(features, k)  # raises
    unit = _directions(np.asarray(features, np.float64), np.asarray(error, np.float64))
    n = len(unit)
    actions = np.broadcast_to(np.asarray(action), n)
    index, score = np.arange(k), np.zeros(n)  # largest cosine + 1, from 0 to 2
    pool = np.minimum(np.arange(n), k)  # how many are chosen when a row comes
    others = rng.integers(np.maximum(pool, 1)[:, None], size=(n, OTHERS))
    luck = rng.random((n, 2))
    score[1:k] = _similarity(unit, actions, np.arange(1, k)[:, None], others[1:k]).max(axis=1) + 1
    for row in range(k, n if k else 0):
        score[row] = _similarity(unit, actions, row, index[others[row]]).max() + 1
        if score[row] < 1:
            _replace(index, score, row, luck[row])
    index = index[np.argsort(score[index], kind="stable")]
    if gain is not None:
        gain[:] = 1 - score[index]
    return index


def _directions(features: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Features at length 1, turned round where the error is negative, 0 where it is 0."""
    length = np.linalg.norm(features, axis=1)
    sign = np.sign(np.broadcast_to(error, len(features)))
    return features * (sign / np.where(length > 0, length, 1))[:, None]


def _similarity(
    unit: np.ndarray, action: np.ndarray, row: int | np.ndarray, others: np.ndarray
) -> np.ndarray:
    """Cosine of the gradients of `row` and of each of `others`."""
    cosine = np.einsum("...d,...d->...", unit[others], unit[row])
    return np.where(action[others] == action[row], cosine, 0.0)


def _replace(index: np.ndarray, score: np.ndarray, row: int, luck: np.ndarray) -> None:
    """Maybe put `row` in the place of a chosen row, which is drawn in proportion to its score."""
    total = score[index].cumsum()
    if total[-1] <= 0:
        return
    place = int(total.searchsorted(luck[0] * total[-1], side="right"))
    mine, its = score[row], score[index[place]]
    if luck[1] * (mine + its) < its:
        index[place] = row
