"""What happens beside training: logs, evaluations, checkpoints, and stopping."""

import logging
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from agents import NonFiniteLoss
from envs import NonFiniteData, WorkerCrash
from envs.errors import one_line
from experiments.activity import idle_methods
from experiments.loop import end_task, learn_task, start_task
from experiments.run import Run
from experiments.screen import Screen
from experiments.summary import references, write_summary

LOG = logging.getLogger("retain")
CURE = "should it come again, start a new run with a smaller --learning-rate or strength"


class Stopped(RuntimeError):
    """A run ended before its end; the message says what was saved, and how to go on.

    Attributes:
        cause: Why it ended, and what may help.
        then: How to go on.
        saved: Where it is as it was when it ended; None if only older checkpoints hold.
    """

    def __init__(self, cause: str, then: str, saved: Path | None = None) -> None:
        super().__init__(cause, then, saved)
        self.cause, self.then, self.saved = cause, then, saved

    def __str__(self) -> str:
        """All of it in one line."""
        saved = f"saved {self.saved}; " if self.saved else ""
        return f"{self.cause}; {saved}{self.then}"


class Watcher(Protocol):
    """Where a monitor writes: to TensorBoard, or to the process that joins several."""

    def log(self, run: Run, steps_per_second: float) -> None:
        """Writes what was noted since the last time."""

    def scores(self, run: Run, scores: np.ndarray) -> None:
        """Writes greedy returns `[members, tasks]`, within a stage or between two."""

    def pictures(self, run: Run, reference: list[float]) -> None:
        """Draws the score matrix and the learning curves, after a stage."""

    def finish(self, run: Run, metrics: dict[str, dict[str, float | None]]) -> None:
        """Writes the outcome."""

    def flush(self) -> None:
        """Puts what was written on disk."""


class Monitor:
    """Trains a run: logs, evaluates and saves it on the way, and stops it when asked to."""

    def __init__(self, run: Run, watcher: Watcher, screen: Screen) -> None:
        self.run, self.watcher, self.screen = run, watcher, screen
        self.asked_to_stop = False
        self._logged_at, self._logged_step = time.perf_counter(), run.clock.total
        self._seconds_before, self._started = run.clock.seconds, time.perf_counter()

    def stop(self) -> None:
        """Asks the run to stop after its current step."""
        self.asked_to_stop = True

    def train(self) -> dict[str, Any]:
        """Goes through the stages that are left."""
        run = self.run
        self.screen.start(run)
        try:
            if not run.history.random:
                run.history.random = run.evaluator.random_returns(run.config.eval_episodes)
            if len(run.history.scores) == run.clock.stage:  # also if that stopped the run
                self._switch()
            while run.clock.stage < len(run.sequence.stages):
                if run.envs is None:
                    start_task(run)
                learn_task(run, self.after_step)
                for words in idle_methods(run):
                    LOG.warning(words)
                end_task(run)
                self._switch()
        except NonFiniteLoss as error:
            raise self._stopped(f"{error}: {CURE}") from error
        except (NonFiniteData, WorkerCrash) as error:
            raise self._stopped(one_line(error)) from error
        except (OSError, MemoryError) as error:
            raise Stopped(one_line(error), how_to_go_on(run)) from error
        return write_summary(run)

    def after_step(self, run: Run) -> None:
        """Logs, evaluates, stops or saves the run, as is due after a step of its environments."""
        config = run.config
        self.screen.step(run)
        total = run.clock.total
        if self._due(config.log_interval, total):
            self._log()
        in_stage = run.clock.step < run.stage.steps
        if in_stage and self._due(config.eval_interval, total):
            self._evaluate()
        if self.asked_to_stop:
            raise self._stopped(f"after {run.clock.total:,} steps")
        if in_stage and self._due(config.checkpoint_interval, total):
            self._checkpoint()
        run.clock.mark("other")

    def _due(self, interval: int, total: int) -> bool:
        """Whether the last step reached or passed a multiple of the interval."""
        return interval > 0 and total % interval < self.run.config.num_envs

    def _log(self) -> None:
        now, step = time.perf_counter(), self.run.clock.total
        steps = (step - self._logged_step) * self.run.config.seeds
        speed = steps / max(now - self._logged_at, 1e-9)
        self._logged_at, self._logged_step = now, step
        self.watcher.log(self.run, speed)
        self.screen.speed(speed)

    def _evaluate(self) -> None:
        """Evaluates every task within a stage."""
        run = self.run
        path = (1, run.clock.total)
        run.clock.mark("other")
        scores = run.evaluator.score_all(run.agent.greedy, run.config.eval_interval_episodes, path)
        run.clock.mark("evaluating")
        run.history.curve.append((run.clock.total, run.clock.stage, scores.tolist()))
        self.watcher.scores(run, scores)
        self.screen.scores(run, scores)

    def _switch(self) -> None:
        """Evaluates every task between stages: a new row of the score matrix."""
        run = self.run
        path = (0, run.clock.stage)
        run.clock.mark("other")
        scores = run.evaluator.score_all(run.agent.greedy, run.config.eval_episodes, path)
        run.clock.mark("evaluating")
        run.history.scores.append(scores.tolist())
        self._tick()
        end_stage(run, self.watcher, self.screen, scores)
        self._checkpoint()

    def _stopped(self, cause: str) -> Stopped:
        """Saves the run, if that can be; returns the exception to raise."""
        try:
            return Stopped(cause, how_to_go_on(self.run), self._checkpoint())
        except (OSError, MemoryError) as error:
            return Stopped(f"{cause}; not saved: {one_line(error)}", how_to_go_on(self.run))

    def _checkpoint(self) -> Path:
        """Saves the run; what was logged before is on disk before."""
        self._tick()
        self.watcher.flush()
        return self.run.save()

    def _tick(self) -> None:
        self.run.clock.mark("other")
        self.run.clock.seconds = self._seconds_before + time.perf_counter() - self._started


def end_stage(run: Run, watcher: Watcher, screen: Screen, scores: np.ndarray) -> None:
    """Shows a new row of the score matrix, `[members, tasks]`, and rewrites summary.json."""
    watcher.scores(run, scores)
    watcher.pictures(run, references(run)[0])
    screen.scores(run, scores)
    summary = write_summary(run)
    if run.clock.stage == len(run.sequence.stages):
        watcher.finish(run, summary["metrics"])


def how_to_go_on(run: Run) -> str:
    """The command that goes on with a run."""
    return f"go on with: python train.py --resume {shlex.quote(str(run.folder))}"


@contextmanager
def interrupts(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask a run to stop after its step; a second Ctrl-C stops at once."""

    def ask(number: int, frame: object) -> None:
        stop()
        print("stopping after this step; Ctrl-C again stops at once", file=sys.stderr)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals go elsewhere
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
