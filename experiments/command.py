"""The command lines: flags made from the configuration, one line and exit code 2 for a mistake."""

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from envs import NonFiniteData, WorkerCrash
from envs.errors import one_line
from experiments.config import Config, Flags
from experiments.film import film_run
from experiments.playback import evaluate_run, print_scores
from experiments.screen import Screen, print_outcome
from experiments.training import Stopped, train


def run_command(command: Callable[[], None]) -> int:
    """Runs a command; a user's mistake is one line on standard error and exit code 2.

    Returns:
        The exit code: 0 done, 2 a mistake (nothing was lost), 3 stopped early (it says what was
        saved), 130 stopped at once.
    """
    try:
        command()
    except Stopped as stopped:
        print(f"stopped: {stopped}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("stopped at once; the last checkpoint holds: --resume goes on", file=sys.stderr)
        return 130
    except (ValueError, OSError, NonFiniteData, WorkerCrash) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    return 0


def train_command() -> None:
    """Trains as the flags say, and prints what was learned and what was forgotten."""
    flags = tyro.cli(Flags, description="Train on a sequence of environments.")
    config = Config(**vars(flags))
    console = _console()
    with _said():
        result = train(config, Screen(console))
    print_outcome(console, result.summary, str(result.folder))


@dataclass(frozen=True)
class EvaluateOptions:
    """Score a run's checkpoint on every task."""

    run: tyro.conf.Positional[str]
    """The run: its folder, or its name in `logdir`."""
    episodes: int = 20
    """Episodes of each task."""
    seed: int = 0
    """Tells the episodes of one evaluation from those of another."""
    checkpoint: str | None = None
    """File to score; by default the run's newest checkpoint."""
    video: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Film one episode of each task (needs the extra `video`)."""
    logdir: str = "runs"
    """Folder of all runs."""


def evaluate_command() -> None:
    """Scores a checkpoint, and films it if asked to."""
    options = tyro.cli(EvaluateOptions, description="Score a run's checkpoint on every task.")
    if options.episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {options.episodes}")
    if options.seed < 0:
        raise ValueError(f"seed must not be negative, got {options.seed}")
    checkpoint = Path(options.checkpoint) if options.checkpoint else None
    console, given = _console(), (options.run, options.logdir, checkpoint)
    with _said():
        print_scores(console, evaluate_run(*given, options.episodes, options.seed))
        if options.video:
            os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # a film needs no display
            for path in film_run(*given, options.seed):
                console.print(f"video: {path}", soft_wrap=True)


class _Lines(logging.Handler):
    """Each record as one plain line on standard error, above the progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        print(*record.getMessage().split(), file=sys.stderr)


@contextmanager
def _said() -> Iterator[None]:
    """Shows what a run logs, how it runs and every warning, on standard error."""
    log, lines = logging.getLogger("retain"), _Lines()
    level, hook = log.level, threading.excepthook
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    threading.excepthook = _thread_failed
    try:
        yield
    finally:
        threading.excepthook = hook
        log.removeHandler(lines)
        log.setLevel(level)


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    """Shows why a thread ended, but for TensorBoard's: whoever writes next is told that."""
    if not type(failed.thread).__module__.startswith("tensorboard"):
        threading.__excepthook__(failed)


def _console() -> Console:
    """Colours and width of the terminal; plain and wide where there is none."""
    return Console() if sys.stdout.isatty() else Console(width=120)
