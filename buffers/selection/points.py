"""Rows as points, and the distances between them."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

PAIRS_AT_ONCE = 1 << 20  # distances in memory at once: 4 MiB
AT_A_TIME = 64  # rows whose distances to later ones are computed at once, at most


class Points:
    """Squared distances from one row to all others for one matrix-vector product.

    Each row is stored as (x, |x|^2, 1) and as (-2 x, 1, |x|^2): the product of one row's first form
    and another's second is |x - y|^2. Rows are centred first, which changes no distance and keeps
    float32 exact enough; what is left of rounding may come out below 0.

    Args:
        features: [n, d].
        k: how many of them will be asked for; checked here for all rules.

    Attributes:
        x: the centred rows, float32 [n, d].
        norm: their squared lengths, float32 [n].

    Raises:
        ValueError: features are not [n, d] or not finite in float32, or `k` is not from 0 to n.
    """

    def __init__(self, features: ArrayLike, k: int) -> None:
        self.x, self.norm = centred(features, k)
        self._blurred = self.norm.max(initial=0) / 1024  # below, rounding is seen in a distance
        one = np.ones_like(self.norm)
        # Column by column, the product runs over rows: twice as fast where d is small.
        self._to = np.asfortranarray(np.column_stack([self.x, self.norm, one]))
        self._of = np.column_stack([-2 * self.x, one, self.norm])

    def __len__(self) -> int:
        return len(self.x)

    def squared(self, row: int, out: np.ndarray | None = None) -> np.ndarray:
        """Squared distance of every row to this one, float32 [n]."""
        return np.matmul(self._to, self._of[row], out=out)

    def some(self, rows: np.ndarray) -> "Points":
        """These rows only, centred as they are."""
        part = Points.__new__(Points)
        part.x, part.norm, part._blurred = self.x[rows], self.norm[rows], self._blurred
        part._to, part._of = np.asfortranarray(self._to[rows]), self._of[rows]
        return part

    def distinct(self) -> tuple[np.ndarray, np.ndarray]:
        """The first row of each kind, int64 [kinds], and of which kind every row is, int64 [n]."""
        # Adding zero makes one of the two zeros, whose bytes differ.
        whole = f"V{self._of.itemsize * self._of.shape[1]}"
        _, first, kind = np.unique(
            np.ascontiguousarray(self._of + 0.0).view(whole).ravel(),
            return_index=True,
            return_inverse=True,
        )
        return first, kind

    def distances(self, row: int) -> np.ndarray:
        """Distance of every row to this one, float32 [n]; exact also where it is small."""
        squared = self.squared(row)
        near = np.flatnonzero(squared < self._blurred)
        away = self.x[near] - self.x[row]
        squared[near] = np.einsum("nd,nd->n", away, away)
        return np.sqrt(squared, out=squared)

    def blocks(
        self, rows: np.ndarray, others: np.ndarray | slice = slice(None)
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Squared distances of `rows` to `others`, a few rows at a time.

        Yields:
            Which of `rows`, and their distances, float32 [of these rows, others].
        """
        to = self._to[others].T
        step = max(1, PAIRS_AT_ONCE // max(1, to.shape[1]))
        for first in range(0, len(rows), step):
            part = slice(first, first + step)
            yield part, self._of[rows[part]] @ to

    def pairs(self, order: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Squared distances of every two rows once, a few rows at a time, in half the time.

        Yields:
            A place in `order`, and the distances of the rows from there on to the rows from there
            on, float32 [a few, all that follow].
        """
        of, to = self._of[order], np.asfortranarray(self._to[order]).T
        step = max(1, min(AT_A_TIME, PAIRS_AT_ONCE // max(1, len(order))))
        for first in range(0, len(order), step):
            yield first, of[first : first + step] @ to[:, first:]


def centred(features: ArrayLike, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows less their mean, float32 [n, d], and their squared lengths; errors as of `Points`."""
    given = np.asarray(features)
    if given.ndim != 2:
        raise ValueError(f"features: expected [n, d], given {list(given.shape)}")
    if not 0 <= k <= len(given):
        raise ValueError(f"cannot choose {k} of {len(given)} rows; choose 0 to {len(given)}")
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        x = given.astype(np.float32)
        x = x - x.mean(axis=0) if len(x) else x
        norm = np.einsum("nd,nd->n", x, x)
    if not np.isfinite(norm).all():
        raise ValueError("features: expected finite float32, given NaN, infinity or too large")
    return x, norm


def represented(features: ArrayLike, index: np.ndarray, weight: ArrayLike = 1.0) -> np.ndarray:
    """How many rows each chosen row stands for, if every other row goes to its nearest one.

    Args:
        features: [n, d].
        index: the chosen rows, [k], at least one if there are rows.
        weight: how many rows each row stood for before, [n] or one number.

    Returns:
        float64 [k]; the sum is that of `weight` over all rows.

    Raises:
        ValueError: as of `Points` and `weights_of`.
    """
    points = Points(features, len(index))
    weights = weights_of(weight, len(points))
    total = weights[index].copy()
    others = np.delete(np.arange(len(points)), index)
    for part, squared in points.blocks(others, index):
        nearest = squared.argmin(axis=1)
        total += np.bincount(nearest, weights[others[part]], minlength=len(index))
    return total


def many_chosen(looked_at: int, not_chosen: int) -> bool:
    """Whether more than a quarter of the rows looked at are chosen: time to look at the rest."""
    return 4 * (looked_at - not_chosen) > looked_at


def weights_of(weight: ArrayLike, n: int) -> np.ndarray:
    """How many rows each of `n` rows counts for, float64 [n].

    Raises:
        ValueError: a weight is negative or not finite, or all are 0.
    """
    weights = np.broadcast_to(np.asarray(weight, np.float64), n)
    total = weights.sum()
    if n and not (0 < total < np.inf and weights.min() >= 0):
        raise ValueError("weights must be finite, at least 0 and not all 0")
    return weights
