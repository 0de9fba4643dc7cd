"""`train(config)`: a run from its configuration to its summary, resumable at any time."""

import dataclasses
import json
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.checkpoint import load_newest, write_atomically
from experiments.config import Config
from experiments.loop import end_task, learn_task, start_task
from experiments.run import Run
from experiments.screen import Screen
from experiments.summary import references, write_summary
from experiments.tracking import Tracker

FREE_ON_RESUME = {"resume", "logdir", "name", "overwrite", "threads"}


class Stopped(RuntimeError):
    """A run ended before its end; what it had is saved, and the message says how to go on."""


@dataclass(frozen=True)
class Result:
    """What a run came to.

    Attributes:
        folder: The run's files.
        summary: The contents of summary.json.
    """

    folder: Path
    summary: dict[str, Any]

    @property
    def scores(self) -> np.ndarray:
        """Greedy returns, `[members, stages + 1, tasks]`; row 0 is before training."""
        return np.array(self.summary["scores"])

    @property
    def metrics(self) -> dict[str, dict[str, float | None]]:
        """Each metric's mean and 95% interval over members (see experiments.metrics)."""
        return dict(self.summary["metrics"])


def train(config: Config, screen: Screen | None = None) -> Result:
    """Trains on the sequence of the configuration, or goes on with `config.resume`.

    Args:
        config: What to do.
        screen: Shows progress; by default only on a terminal.

    Raises:
        ValueError: The configuration cannot work; nothing was written.
        Stopped: Interrupted, or a number became NaN or infinite; the last good state is saved.
    """
    torch.set_num_threads(config.threads)
    run, tracker = _resumed(config) if config.resume else _new(config)
    monitor = Monitor(run, tracker, screen or Screen())
    try:
        with _interrupts(monitor):
            return Result(run.folder, monitor.train())
    finally:
        monitor.screen.stop()
        tracker.close()
        run.close()


class Monitor:
    """Looks at a run while it goes on: logs, evaluates, saves, and stops it when asked to."""

    def __init__(self, run: Run, tracker: Tracker, screen: Screen) -> None:
        self.run, self.tracker, self.screen = run, tracker, screen
        self.asked_to_stop = False
        self._logged_at, self._logged_step = time.perf_counter(), run.clock.total
        self._seconds_before, self._started = run.clock.seconds, time.perf_counter()

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
                learn_task(run, self.look)
                end_task(run)
                self._switch()
        except ArithmeticError as error:
            raise Stopped(f"{error}; {self._save()}") from error
        return write_summary(run)

    def look(self, run: Run) -> None:
        """After every step of the environments."""
        config = run.config
        self.screen.step(run)
        if self._due(config.log_interval):
            self._log()
        in_stage = run.clock.step < run.stage.steps
        if in_stage and self._due(config.eval_interval):
            self._evaluate()
        if self.asked_to_stop:
            raise Stopped(f"after {run.clock.total:,} steps; {self._save()}")
        if in_stage and self._due(config.checkpoint_interval):
            self._checkpoint()

    def _due(self, interval: int) -> bool:
        total, last = self.run.clock.total, self.run.clock.total - self.run.config.num_envs
        return interval > 0 and total // interval > last // interval

    def _log(self) -> None:
        now, step = time.perf_counter(), self.run.clock.total
        steps = (step - self._logged_step) * self.run.config.seeds
        speed = steps / max(now - self._logged_at, 1e-9)
        self._logged_at, self._logged_step = now, step
        self.tracker.log(self.run, speed)
        self.screen.speed(speed)

    def _evaluate(self) -> None:
        """Every task, within a stage."""
        run = self.run
        path = (1, run.clock.total)
        scores = run.evaluator.score_all(run.agent.greedy, run.config.eval_interval_episodes, path)
        run.history.curve.append((run.clock.total, run.clock.stage, scores.tolist()))
        self.tracker.scores(run, scores)
        self.screen.scores(run, scores)

    def _switch(self) -> None:
        """Every task, before training and after each stage: a row of the score matrix."""
        run = self.run
        path = (0, run.clock.stage)
        scores = run.evaluator.score_all(run.agent.greedy, run.config.eval_episodes, path)
        run.history.scores.append(scores.tolist())
        self.tracker.scores(run, scores)
        self.tracker.pictures(run, references(run)[0])
        self.screen.scores(run, scores)
        self._tick()
        summary = write_summary(run)
        if run.clock.stage == len(run.sequence.stages):
            self.tracker.finish(run, summary["metrics"])
        self._checkpoint()

    def _save(self) -> str:
        path = self._checkpoint()
        name = self.run.folder
        return f"saved {path}; go on with: python train.py --resume {name}"

    def _checkpoint(self) -> Path:
        """Saves the run; what was logged before is on disk before."""
        self._tick()
        self.tracker.flush()
        return self.run.save()

    def _tick(self) -> None:
        self.run.clock.seconds = self._seconds_before + time.perf_counter() - self._started


def _new(config: Config) -> tuple[Run, Tracker]:
    folder = _new_folder(config)
    run = Run(config, folder)
    if folder.exists():
        shutil.rmtree(folder)
    write_atomically(folder / "config.json", json.dumps(config.to_json(), indent=1).encode())
    tracker = Tracker(folder)
    tracker.start(run)
    return run, tracker


def _new_folder(config: Config) -> Path:
    """Where a new run goes; never where one is, unless it is to be replaced."""
    logdir = Path(config.logdir)
    if config.name is not None:
        folder = logdir / config.name
        if folder.exists() and config.overwrite and not (folder / "config.json").is_file():
            raise ValueError(f"{folder} is no run, so it is not replaced: choose another --name")
        if folder.exists() and not config.overwrite:
            raise ValueError(
                f"{folder} exists: go on with --resume {folder}, replace it with --overwrite, "
                "or choose another --name"
            )
        return folder
    parts = [config.envs.replace(",", "-").replace("/", "_").replace(":", "_"), config.buffer]
    stem = "-".join([*parts, config.methods.replace(",", "-"), f"seed{config.seed}"])
    names = [stem, *(f"{stem}-{number}" for number in range(2, 10_000))]
    return next(logdir / name for name in names if not (logdir / name).exists())


def _resumed(config: Config) -> tuple[Run, Tracker]:
    folder = find_run(config.resume or "", config.logdir)
    saved = load_config(folder)
    for field in dataclasses.fields(Config):
        asked, was = getattr(config, field.name), getattr(saved, field.name)
        if field.name not in FREE_ON_RESUME and asked not in (field.default, was):
            raise ValueError(
                f"{folder} was started with {field.name}={was}, not {asked}: "
                "leave the flag out, or start a new run"
            )
    run = Run(dataclasses.replace(saved, threads=config.threads), folder)
    _, state, _ = load_newest(folder)
    try:
        run.load_state_dict(state)
    except (KeyError, TypeError) as error:
        raise ValueError(f"the checkpoint of {folder} is of another version: {error}") from None
    return run, Tracker(folder, purge_step=run.clock.total + 1)


def find_run(name: str, logdir: str) -> Path:
    """The folder of a run given as a folder, or as a name inside `logdir`.

    Raises:
        ValueError: There is no such run.
    """
    for folder in (Path(name), Path(logdir) / name):
        if (folder / "config.json").is_file():
            return folder
    raise ValueError(f"no run at {name} or {Path(logdir) / name}")


def load_config(folder: Path) -> Config:
    """The configuration that a run was started with.

    Raises:
        ValueError: config.json is damaged, or of another version.
    """
    try:
        return Config.from_json(json.loads((folder / "config.json").read_text()))
    except (json.JSONDecodeError, TypeError, KeyError) as error:
        raise ValueError(f"{folder / 'config.json'} cannot be read: {error}") from None


@contextmanager
def _interrupts(monitor: Monitor) -> Iterator[None]:
    """Ctrl-C and SIGTERM stop the run after the current step; a second Ctrl-C stops at once."""

    def ask(number: int, frame: object) -> None:
        monitor.asked_to_stop = True
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
