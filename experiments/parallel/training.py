"""Members in processes of their own: several cores train one run.

Members have nothing to do with one another. So each process trains some of them as a run of its
own, with its own checkpoints, in a folder inside the run's; their reports are shown as one run's.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from envs.errors import one_line
from experiments.monitor import Stopped, end_stage, how_to_go_on, interrupts
from experiments.parallel.joined import MEMBERS, Joined
from experiments.parallel.processes import Part, messages, started
from experiments.parallel.reports import Report, What
from experiments.parallel.worker import Ended
from experiments.screen import Screen
from experiments.summary import summarize_run
from experiments.tracking import Tracker

LOG = logging.getLogger("retain")


def train_in_processes(run: Joined, screen: Screen) -> dict[str, Any]:
    """Trains a run's members in several processes.

    Returns:
        The contents of summary.json.

    Raises:
        Stopped: Interrupted, or some members cannot go on; it says whether all are saved.
        RuntimeError: A mistake of ours, which its process has printed.
    """
    follower = Follower(run, screen)
    try:
        with started(run) as parts:
            ends = follow(parts, follower)
    finally:
        follower.close()
    for end in ends:  # the first is why the others were asked to stop
        if end.ours:
            raise RuntimeError(f"training failed: {end.cause}")
        if end.cause is not None:
            saved = run.folder / MEMBERS if all(each.saved for each in ends) else None
            raise Stopped(end.cause, how_to_go_on(run), saved)
    return summarize_run(run)  # is written since the last stage ended


def follow(parts: Sequence[Part], follower: "Follower") -> list[Ended]:
    """Shows what the parts report until all have ended; if one cannot go on, all stop.

    Returns:
        How they ended, in this order; also what this process could not write.
    """

    def stop() -> None:
        for part in parts:
            part.process.terminate()  # SIGTERM: it saves

    ends: list[Ended] = []
    with interrupts(stop):
        for number, message in messages(parts):
            end = message if isinstance(message, Ended) else follower.try_take(number, message)
            if end is not None:
                ends.append(end)
                if end.cause is not None:
                    stop()
    return ends


class Follower:
    """Writes what the parts report to TensorBoard, summary.json and the screen."""

    def __init__(self, run: Joined, screen: Screen) -> None:
        self._run, self._screen = run, screen
        self._tracker: Tracker | None = None
        self._failed = False

    def try_take(self, number: int, message: Report | str) -> Ended | None:
        """As `take`; if a file could not be written, returns why, and later does nothing."""
        if self._failed:
            return None
        try:
            self.take(number, message)
        except (OSError, MemoryError) as error:
            self._failed = True
            return Ended(one_line(error))
        return None

    def take(self, number: int, message: Report | str) -> None:
        """Takes in a message of a part: a report, or a warning."""
        if isinstance(message, str):
            LOG.warning("members %s: %s", self._run.parts[number].name, message)
            return
        for what, news in self._run.take(number, message):
            self._show(what, news)

    def close(self) -> None:
        """Closes the files."""
        if self._tracker:
            self._tracker.close()

    def _show(self, what: What, news: float | np.ndarray) -> None:
        run, screen = self._run, self._screen
        tracker = self._tracker = self._tracker or Tracker.of(run)
        if what == "start":
            screen.start(run)
        elif isinstance(news, float):
            tracker.log(run, news)
            screen.step(run)
            screen.speed(news)
        elif what == "evaluation":
            tracker.scores(run, news)
            screen.scores(run, news)
        else:
            end_stage(run, tracker, screen, news)
