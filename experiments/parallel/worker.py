"""The process of a part of a run: it trains some of the members, and reports of them."""

import logging
import multiprocessing
import os
import shutil
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread

import torch
from rich.console import Console

from envs import parse_sequence
from envs.errors import one_line
from experiments.checkpoint import checkpoint_files
from experiments.config import Config
from experiments.folders import new_run, resumed_run
from experiments.monitor import Monitor, Stopped
from experiments.parallel.reports import Report, Reporter
from experiments.run import Run
from experiments.screen import Screen

LOG = logging.getLogger("retain")
LACKING = "in a process of its own: what a script registers must be there once it is imported"


@dataclass(frozen=True)
class Ended:
    """The last message of a part: how it ended.

    Attributes:
        cause: Why it ended before the end of the run; None if it did not.
        ours: Whether that is a defect of Retain.
        saved: Whether its members are saved as they were then.
    """

    cause: str | None = None
    ours: bool = False
    saved: bool = True


Tell = Callable[[Report | str | Ended], None]


class Words(logging.Handler):
    """Sends warnings to the starter.

    Args:
        tell: Takes each record's words.
    """

    def __init__(self, tell: Tell) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """One record."""
        self._tell(record.getMessage())


def work(config: Config, folder: Path, pipe: Connection, first: bool) -> None:
    """What a part's process runs: trains its members, and reports of them.

    Args:
        config: Of the part.
        folder: That of all parts.
        pipe: Takes reports, words, and at last how it ended.
        first: Whether the first member is among these: its memory is shown.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this asks it to stop
    LOG.addHandler(logging.NullHandler())  # nothing of it on standard error
    Thread(target=_end_with_starter, daemon=True).start()
    tell = partial(_send, pipe)
    try:
        end = _trained(config, folder, tell, first)
    except Stopped as stopped:
        end = Ended(stopped.cause, saved=stopped.saved is not None)
    except Exception as error:
        traceback.print_exc()
        end = Ended(f"{type(error).__name__}: {error}", ours=True, saved=False)
    tell(end)


def _send(pipe: Connection, message: Report | str | Ended) -> None:
    """Sends a message, unless the starter is gone: this process is then being stopped."""
    with suppress(BrokenPipeError):
        pipe.send(message)


def _trained(config: Config, folder: Path, tell: Tell, first: bool) -> Ended:
    try:
        run = _made(config, folder, Words(tell))
    except (ValueError, OSError, MemoryError) as error:  # later, one is a mistake of ours
        return Ended(one_line(error), saved=False)
    torch.set_num_threads(int(run.config.threads))
    reporter = Reporter(tell, first)
    monitor = Monitor(run, reporter, Screen(Console(quiet=True, force_terminal=False)))
    signal.signal(signal.SIGTERM, lambda *_: monitor.stop())
    reporter.start(run)
    monitor.train()
    run.close()
    return Ended()


def _made(config: Config, folder: Path, words: Words) -> Run:
    """The run of a part: new, unless something of it was saved.

    Raises:
        ValueError: It cannot be made here, or not from what is on disk.
    """
    own = folder / str(config.name)
    check_known_here(config)
    if checkpoint_files(own):
        LOG.addHandler(words)
        run = resumed_run(Config(resume=str(own)))
        config.check_deciding(run.config.deciding())
        return run
    shutil.rmtree(own, ignore_errors=True)
    run = new_run(replace(config, logdir=str(folder)))
    LOG.addHandler(words)  # what there is to say of a new run, its starter has said
    return run


def check_known_here(config: Config) -> None:
    """Checks anew, in this process, what another one has checked.

    Raises:
        ValueError: An environment, or another name, is not registered here.
    """
    try:
        replace(config)  # is checked; what came from another process was not
        parse_sequence(config.envs, config.steps)
    except ValueError as error:
        raise ValueError(f"{error} ({LACKING})") from error


def _end_with_starter() -> None:
    """Saves and stops this process once its parent has died.

    Otherwise its members might train on beside those of the run that goes on with them.
    """
    if starter := multiprocessing.parent_process():
        starter.join()
        os.kill(os.getpid(), signal.SIGTERM)
