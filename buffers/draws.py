"""Draws, and what goes with them, in fewer or cheaper calls to NumPy."""

from functools import lru_cache

import numpy as np

_INT64 = np.dtype(np.int64)


def uniform(rng: np.random.Generator, below: float, n: int) -> np.ndarray:
    """Draw `n` whole numbers from 0 up to, but not including, `below`, int64 [n].

    In half the time of `Generator.integers`; a number's probability is off by less than 2**-53.
    """
    drawn = rng.random(n)
    drawn *= _scalar(below)
    return drawn.astype(_INT64)


@lru_cache
def _scalar(value: float) -> np.ndarray:
    """The number as an array without axes: NumPy multiplies by it in half the time."""
    return np.array(value, np.float64)


@lru_cache
def ones(n: int) -> np.ndarray:
    """Return ones, float32 [n], to be copied."""
    return np.ones(n, np.float32)
