"""The processes of a run's parts: started, and listened to."""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from experiments.parallel.joined import MEMBERS, Joined
from experiments.parallel.worker import Ended, work


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
        return Ended("while its processes started", saved=False)
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    return Ended(f"the process of members {part.name} ended {how}", saved=False)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """A process started now does not see Ctrl-C."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
