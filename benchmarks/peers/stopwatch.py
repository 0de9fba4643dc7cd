"""When each step of a run was over: what compiling took, and what training took without it."""

import io

import numpy as np
from rich.console import Console

from experiments.run import Run
from experiments.screen import Screen
from peers import now

COMPILING = 0.5  # s: a step takes milliseconds, an evaluation less than this, compiling seconds
CACHED = 0.1  # s: a step that takes longer compiles what is cached, where nothing is evaluated


class Stopwatch(Screen):
    """A screen that shows nothing and notes the time of every step.

    Args:
        compiling: Seconds that a step takes at least if it compiles.

    Attributes:
        times: Per stage, when each step of the environments was over, s.
    """

    def __init__(self, compiling: float = COMPILING) -> None:
        super().__init__(Console(file=io.StringIO()))
        self._least = compiling
        self.times: dict[int, list[float]] = {}

    def step(self, run: Run) -> None:
        """Notes the time."""
        self.times.setdefault(run.clock.stage, []).append(now())

    def seconds(self, stage: int = 0) -> float:
        """What the steps of a stage took, had nothing been compiled in them."""
        gaps, usual = self._gaps(stage), ~self._compiling(stage)
        # The first step has no gap before it, and those that compile would take the usual time.
        return float(gaps[usual].mean() * (len(gaps) + 1))

    def compile_seconds(self, stage: int = 0) -> float:
        """What compiling took in the steps of a stage."""
        gaps, compiling = self._gaps(stage), self._compiling(stage)
        return float(gaps[compiling].sum() - gaps[~compiling].mean() * compiling.sum())

    def _gaps(self, stage: int) -> np.ndarray:
        return np.diff(self.times[stage])

    def _compiling(self, stage: int) -> np.ndarray:
        """Steps that took far longer than the others do."""
        gaps = self._gaps(stage)
        return gaps > np.maximum(self._least, 20 * np.median(gaps))
