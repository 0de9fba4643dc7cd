"""Members in processes of their own: several cores train one run.

Members have nothing to do with one another. So each process trains some of them as a run of its
own, with its own checkpoints, in a folder inside the run's; what they report is shown as one.
"""

import logging
import multiprocessing
import shutil
import signal
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from experiments.checkpoint import checkpoint_files
from experiments.config import Config
from experiments.folders import new_run, resumed_run
from experiments.joined import MEMBERS, Joined
from experiments.monitor import Monitor, Stopped, end_stage, how_to_go_on, interrupts
from experiments.reports import Report, Reporter, What
from experiments.screen import Screen
from experiments.summary import write_summary
from experiments.tracking import Tracker

LOG = logging.getLogger("retain")


@dataclass(frozen=True)
class Ended:
    """The last word of a part.

    Attributes:
        cause: Why it ended before the end of the run; None if it did not.
        ours: Whether that is a mistake of ours.
    """

    cause: str | None = None
    ours: bool = False


@dataclass(frozen=True)
class Part:
    """Some members in a process of their own; `name` has their first and last seed."""

    name: str
    process: BaseProcess
    pipe: Connection


def train_apart(run: Joined, screen: Screen) -> dict[str, Any]:
    """Trains a run's members in several processes.

    Returns:
        The contents of summary.json.

    Raises:
        Stopped: Interrupted, or some members cannot go on; what all members had is saved.
        RuntimeError: A mistake of ours, which its process has printed.
    """
    follower = Follower(run, screen)
    then = f"saved all members in {run.folder / MEMBERS}; {how_to_go_on(run)}"
    with started(run) as parts:
        try:
            ends = follow(parts, follower)
        except (OSError, MemoryError) as error:
            raise Stopped(str(error), how_to_go_on(run)) from error
        finally:
            follower.close()
    for end in ends:  # the first is why the others were asked to stop
        if end.ours:
            raise RuntimeError(f"training failed: {end.cause}")
        if end.cause is not None:
            raise Stopped(end.cause, then)
    return write_summary(run)


def follow(parts: Sequence[Part], follower: "Follower") -> list[Ended]:
    """Shows what the parts report until all have ended; if one cannot go on, all stop."""

    def stop() -> None:
        for part in parts:
            part.process.terminate()  # SIGTERM: it saves

    ends = []
    with interrupts(stop):
        for number, message in messages(parts):
            if isinstance(message, Ended):
                ends.append(message)
                if message.cause is not None:
                    stop()
            else:
                follower.take(number, message)
    return ends


@contextmanager
def started(run: Joined) -> Iterator[list[Part]]:
    """The processes of a run's members; none is left afterwards."""
    context, parts = multiprocessing.get_context("spawn"), []
    try:
        for config in run.parts:
            mine, theirs = context.Pipe(duplex=False)
            process = context.Process(target=work, args=(config, run.folder / MEMBERS, theirs))
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
    numbers, ended = {part.pipe: k for k, part in enumerate(parts)}, set()
    while numbers:
        for pipe in wait(list(numbers)):
            number = numbers[pipe]  # type: ignore[index]
            try:
                message = parts[number].pipe.recv()
            except (EOFError, ConnectionError):
                del numbers[pipe]  # type: ignore[arg-type]
                if number in ended:
                    continue
                message = _died(parts[number])
            if isinstance(message, Ended):
                ended.add(number)
            yield number, message


def _died(part: Part) -> Ended:
    part.process.join()
    code = part.process.exitcode or 0
    if code == -signal.SIGTERM:  # later, it says so itself
        return Ended("before the first step")
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    return Ended(f"the process of members {part.name} ended {how}")


class Follower:
    """Shows what the members of a run report: TensorBoard, summary.json, and the screen."""

    def __init__(self, run: Joined, screen: Screen) -> None:
        self._run, self._screen = run, screen
        self._tracker: Tracker | None = None

    def take(self, number: int, message: Report | str) -> None:
        """Takes in what a part says: a report, or words."""
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


def work(config: Config, folder: Path, pipe: Connection) -> None:
    """The whole of a part's process: trains its members, and tells of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this asks it to stop
    LOG.addHandler(logging.NullHandler())  # what there is to say before the start is said already
    try:
        run = _new_or_resumed(config, folder)
        torch.set_num_threads(int(run.config.threads))
        reporter = Reporter(pipe.send)
        monitor = Monitor(run, reporter, Screen(Console(quiet=True)))
        signal.signal(signal.SIGTERM, lambda *_: monitor.stop())
        LOG.addHandler(Words(pipe))
        reporter.start(run)
        monitor.train()
        run.close()
        end = Ended()
    except Stopped as stopped:
        end = Ended(stopped.cause)
    except Exception as error:
        traceback.print_exc()
        end = Ended(f"{type(error).__name__}: {error}", ours=True)
    with suppress(BrokenPipeError):  # nobody is there any more
        pipe.send(end)


def _new_or_resumed(config: Config, folder: Path) -> Any:
    own = folder / str(config.name)
    if checkpoint_files(own):
        return resumed_run(Config(resume=str(own)))
    shutil.rmtree(own, ignore_errors=True)  # nothing was saved yet
    return new_run(replace(config, logdir=str(folder)))


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """A process started now does not see Ctrl-C."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
