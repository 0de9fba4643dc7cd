"""A uniform sample of the stream that skips the rows it drops (Li, 1994, algorithm L)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from buffers.reservoir import AHEAD, ReservoirBuffer

NEVER = 2**62  # a place in the stream that none reaches


class SkipReservoir(ReservoirBuffer):
    """Keeps `capacity` rows of the stream, each with the same probability, for long streams.

    Same sample as `ReservoirBuffer` in law, not in numbers, and planned ahead as there. Imagine a
    uniform key at every row and the `capacity` smallest kept: the largest of the kept keys, W,
    decides how many rows are skipped (geometric with success W), the row after them replaces a
    uniformly drawn one, and W becomes W * U^(1/capacity) (Li, 1994, section 3).

    Args:
        capacity: rows it can hold.
        common: `state, action, extra, seed, storage, path`; see `Buffer`.

    Deviations: numbers for many kept rows are drawn at once, and W is kept as its logarithm. When
    it shrinks, W is drawn anew from its law given the rows offered so far, Beta(capacity,
    rows - capacity + 1), of which Li's start, U^(1/capacity), is the case rows = capacity.
    """

    def _forget_plan(self) -> None:
        super()._forget_plan()
        self._log_w = 0.0

    def _more(self, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw which rows after place `last` are kept next, and where: places and slots."""
        if self._plan.end < 0:
            self._log_w = float(np.log(self._rng.beta(self._capacity, last - self._capacity + 2)))
        n = min(AHEAD, self._capacity)  # as many rows as that pass by while W falls by a factor e
        log_w = self._log_w - self._rng.standard_exponential(n).cumsum() / self._capacity
        wait = self._rng.standard_exponential(n)
        with np.errstate(divide="ignore"):  # W may be 1 at first, and 0 in the far future
            skip = np.floor(wait / -np.log1p(-np.exp(np.append(self._log_w, log_w[:-1]))))
        places = np.minimum(last + np.minimum(skip + 1, NEVER / n).cumsum(), NEVER)
        self._log_w = float(log_w[-1])
        return places.astype(np.int64), self._rng.integers(self._capacity, size=n)

    def _counters(self) -> dict[str, Any]:
        return super()._counters() | {"log_w": self._log_w}

    def _check_counters(self, state: Mapping[str, Any]) -> int:
        if not isinstance(state["log_w"], float) or not state["log_w"] <= 0:
            raise ValueError(f"state has log_w {state['log_w']!r}, expected a number up to 0")
        return super()._check_counters(state)

    def _load_counters(self, state: Mapping[str, Any]) -> None:
        super()._load_counters(state)
        self._log_w = state["log_w"]
