"""`train(config)`: a run from its configuration to its summary, resumable at any time."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.compiling import how_updates_run
from experiments.config import Config
from experiments.folders import new_run, resumed_run
from experiments.monitor import Monitor, Stopped, interrupts
from experiments.parallel.joined import Joined
from experiments.parallel.training import train_in_processes
from experiments.run import Run
from experiments.screen import Screen
from experiments.tracking import Tracker

LOG = logging.getLogger("retain")


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

    PyTorch's number of threads is set for the whole process, to the run's `threads`.

    Args:
        config: What to do.
        screen: Shows progress; by default only on a terminal.

    Raises:
        ValueError: The configuration cannot work; nothing was written.
        Stopped: Interrupted, a full disk, a process that died, or a number that became NaN or
            infinite; it says what was saved.
    """
    run = new_run(config) if config.resume is None else resumed_run(config)
    screen = screen or Screen()
    torch.set_num_threads(int(run.config.threads))
    LOG.info(run.memory_needed)
    LOG.info(run.stepped_by)
    LOG.info(how_updates_run(run.config, run.total_steps, run.compiled))
    try:
        return Result(run.folder, _summary(run, screen))
    except ValueError as error:  # after the start this is our mistake, not the user's
        raise RuntimeError(f"training failed: {error}") from error
    finally:
        screen.stop()
        run.close()


def _summary(run: Run, screen: Screen) -> dict[str, Any]:
    """Trains, here or in processes of their own; the contents of summary.json."""
    if isinstance(run, Joined):
        return train_in_processes(run, screen)
    tracker = Tracker.of(run)
    monitor = Monitor(run, tracker, screen)
    try:
        with interrupts(monitor.stop):
            return monitor.train()
    finally:
        tracker.close()


__all__ = ["Result", "Stopped", "train"]
