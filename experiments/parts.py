"""The processes of a run's parts: started, listened to, and what each of them does."""

import logging
import multiprocessing
import shutil
import signal
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from envs import parse_sequence
from experiments.checkpoint import checkpoint_files
from experiments.config import Config
from experiments.folders import new_run, resumed_run
from experiments.joined import MEMBERS, Joined
from experiments.monitor import Monitor, Stopped
from experiments.reports import Reporter
from experiments.run import Run
from experiments.screen import Screen

LOG = logging.getLogger("retain")
LACKING = "in a process of its own: what a script registers must be there once it is imported"


@dataclass(frozen=True)
class Ended:
    """The last word of a part.

    Attributes:
        cause: Why it ended before the end of the run; None if it did not.
        ours: Whether that is a mistake of ours.
        saved: Whether its members are saved as they were then.
    """

    cause: str | None = None
    ours: bool = False
    saved: bool = True


@dataclass(frozen=True)
class Part:
    """Some members in a process of their own; `name` has their first and last seed."""

    name: str
    process: BaseProcess
    pipe: Connection


@contextmanager
def started(run: Joined) -> Iterator[list[Part]]:
    """The processes of a run's members; none is left afterwards."""
    context = multiprocessing.get_context("spawn")
    resource_tracker.ensure_running()  # its start would let Ctrl-C through again
    parts: list[Part] = []
    try:
        for config in run.parts:
            mine, theirs = context.Pipe(duplex=False)
            given = config, run.folder / MEMBERS, theirs, not parts
            process = context.Process(target=work, args=given)
            with _interrupts_held():
                process.start()
            theirs.close()
            parts.append(Part(str(config.name), process, mine))
        yield parts
    finally:
        for part in parts:
            part.process.kill()
            part.process.join()
            part.pipe.close()


def messages(parts: Sequence[Part]) -> Iterator[tuple[int, Any]]:
    """What the parts say, with the number of each, until the last has ended."""
    heard, ended = dict(enumerate(parts)), set()
    while heard:
        ready = wait([part.pipe for part in heard.values()])
        for number, part in [(k, part) for k, part in heard.items() if part.pipe in ready]:
            try:
                message = part.pipe.recv()
            except (EOFError, OSError):  # the latter in the middle of a message
                del heard[number]
                if number in ended:
                    continue
                message = _died(part)
            if isinstance(message, Ended):
                ended.add(number)
            yield number, message


def _died(part: Part) -> Ended:
    part.process.join()
    code = part.process.exitcode or 0
    if code == -signal.SIGTERM:  # later, it says so itself
        return Ended("before the first step", saved=False)
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    return Ended(f"the process of members {part.name} ended {how}", saved=False)


class Words(logging.Handler):
    """Sends what is logged.

    Args:
        pipe: Takes each record's words.
    """

    def __init__(self, pipe: Connection) -> None:
        super().__init__(logging.WARNING)
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        """One record."""
        self._pipe.send(record.getMessage())


def work(config: Config, folder: Path, pipe: Connection, first: bool) -> None:
    """The whole of a part's process: trains its members, and tells of it.

    Args:
        config: Of the part.
        folder: That of all parts.
        pipe: Takes reports, words, and at last how it ended.
        first: Whether the first member is among these: its memory is shown.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this asks it to stop
    LOG.addHandler(logging.NullHandler())  # nothing of it on standard error
    try:
        run = _made(config, folder, Words(pipe))
        torch.set_num_threads(int(run.config.threads))
        reporter = Reporter(pipe.send, first)
        monitor = Monitor(run, reporter, Screen(Console(quiet=True, force_terminal=False)))
        signal.signal(signal.SIGTERM, lambda *_: monitor.stop())
        reporter.start(run)
        monitor.train()
        run.close()
        end = Ended()
    except Stopped as stopped:
        end = Ended(stopped.cause, saved=stopped.saved is not None)
    except BrokenPipeError:  # whoever started this is gone
        return
    except Exception as error:
        traceback.print_exc()
        end = Ended(f"{type(error).__name__}: {error}", ours=True, saved=False)
    with suppress(BrokenPipeError):
        pipe.send(end)


def _made(config: Config, folder: Path, words: Words) -> Run:
    """The run of a part: new, unless something of it was saved.

    Raises:
        Stopped: It cannot be made here, or not from what is on disk.
    """
    own = folder / str(config.name)
    try:
        check_known_here(config)
        if checkpoint_files(own):
            LOG.addHandler(words)
            return resumed_run(Config(resume=str(own)))
        shutil.rmtree(own, ignore_errors=True)
        run = new_run(replace(config, logdir=str(folder)))
        LOG.addHandler(words)  # what there is to say of a new run, its starter has said
        return run
    except (ValueError, OSError, MemoryError) as error:
        raise Stopped(str(error), "nothing was begun") from error


def check_known_here(config: Config) -> None:
    """Checks anew, in this process, what another one has checked.

    Raises:
        ValueError: An environment, or another name, is not registered here.
    """
    try:
        parse_sequence(replace(config).envs, config.steps)
    except ValueError as error:
        raise ValueError(f"{error} ({LACKING})") from error


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """A process started now does not see Ctrl-C."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
