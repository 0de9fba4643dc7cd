"""What a process that trains some members reports to the one that joins them all."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from experiments.clock import Clock
from experiments.memories import View
from experiments.run import Run

What = Literal["start", "log", "evaluation", "switch"]


@dataclass(frozen=True)
class Report:
    """What some members came to.

    Attributes:
        what: The occasion.
        news: At the start, the whole history, which is not empty where a run goes on; at a log,
            what was noted since the last, `[sum, count]` per name; else the new entry of the curve
            or of the score matrix, this with the returns of a random policy.
        clock: Where the members are.
        interference: As in the history.
        view: What the first member's memory holds; None where it is not among these.
        compiled: Whether their updates run compiled.
        peak_memory: Of their process, in bytes.
        steps_per_second: Of these members together, since the last log.
    """

    what: What
    news: Any
    clock: Clock
    interference: dict[str, list[float]]
    view: View | None
    compiled: bool
    peak_memory: int
    steps_per_second: float = 0.0


class Reporter:
    """Sends reports of a run to the joining process, which writes its files.

    Args:
        send: Takes each report.
        first: Whether the first member of the run is among these.
    """

    def __init__(self, send: Callable[[Report], None], first: bool) -> None:
        self._send, self._first = send, first

    def start(self, run: Run) -> None:
        """Sends where the members begin, or go on."""
        self._tell("start", run.history.state_dict(), run)

    def log(self, run: Run, steps_per_second: float) -> None:
        """Sends what was noted since the last time."""
        noted = run.history.take_pending()
        if not self._first:  # the memory shown is the first member's
            noted = {k: own for k, own in noted.items() if not k.startswith("memory/")}
        self._tell("log", noted, run, steps_per_second)

    def scores(self, run: Run, scores: np.ndarray) -> None:
        """Sends an evaluation within a stage, or after one."""
        if run.in_stage:
            self._tell("evaluation", run.history.curve[-1], run)
        else:
            self._tell("switch", (run.history.scores[-1], run.history.random), run)

    def pictures(self, run: Run, reference: list[float]) -> None:
        """Does nothing: the joining process draws this for all members."""

    def finish(self, run: Run, metrics: dict[str, dict[str, float | None]]) -> None:
        """Does nothing: the joining process writes this for all members."""

    def flush(self) -> None:
        """Does nothing: every report was sent at once."""

    def _tell(self, what: What, news: Any, run: Run, steps_per_second: float = 0.0) -> None:
        view = run.view() if self._first else None
        state = run.history.interference, view, run.compiled, run.peak_memory
        self._send(Report(what, news, run.clock, *state, steps_per_second))
