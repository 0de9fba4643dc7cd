"""Sequences of tasks: registered ones, and the `--envs` text of the command line."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import envs.toy  # registers the toy environments with Gymnasium
from envs.task import Task, find_task

CLASSIC = ("CartPole", "Acrobot", "MountainCar", "retain/CartPoleReversed")
SEQUENCES: dict[str, Callable[[], tuple[Task, ...]]] = {
    "classic": lambda: tuple(find_task(name) for name in CLASSIC[:2]),
    "classic3": lambda: tuple(find_task(name) for name in CLASSIC[:3]),
    "classic4": lambda: tuple(find_task(name) for name in CLASSIC),
    "toy": envs.toy.toy_sequence,
}


@dataclass(frozen=True)
class Stage:
    """One visit to a task: its index among the sequence's tasks, and how long it lasts."""

    task: int
    steps: int


@dataclass(frozen=True)
class TaskSequence:
    """What is learned, in order.

    Attributes:
        tasks: The distinct tasks in the order of their first visit.
        stages: The visits; a task may be visited again later (a revisit).
    """

    tasks: tuple[Task, ...]
    stages: tuple[Stage, ...]

    @property
    def names(self) -> list[str]:
        """The names of the distinct tasks."""
        return [task.name for task in self.tasks]

    def is_revisit(self, stage: int) -> bool:
        """Whether the task of this stage was learned before."""
        return self.stages[stage].task in [s.task for s in self.stages[:stage]]


def parse_sequence(text: str, steps: int) -> TaskSequence:
    """The sequence behind `CartPole:30000,Acrobot`, or behind a registered name such as `classic`.

    Args:
        text: Environments separated by commas, each with its own steps after a colon if wanted.
        steps: Environment steps for tasks that name none.

    Raises:
        ValueError: An unknown environment, or a number of steps that is not positive.
    """
    visits = tuple(task for part in text.split(",") for task in _parse(part.strip()))
    tasks: dict[tuple[str, str], Task] = {}
    for task in visits:
        tasks.setdefault(_key(task), task)  # a revisit is the same task
    names = [task.name for task in tasks.values()]
    if len(set(names)) < len(names):
        raise ValueError(f"two different tasks of {text!r} have one name: {', '.join(names)}")
    order, stages = list(tasks), []
    for task in visits:
        length = steps if task.steps is None else task.steps
        if length < 1:
            raise ValueError(f"{task.name}: steps must be at least 1, got {length}")
        stages.append(Stage(order.index(_key(task)), length))
    return TaskSequence(tuple(tasks.values()), tuple(stages))


def _key(task: Task) -> tuple[str, str]:
    return task.env_id, repr(dict(task.kwargs))


def _parse(part: str) -> tuple[Task, ...]:
    """The tasks of one comma-separated part."""
    name, _, tail = part.rpartition(":")
    is_number = tail.lstrip("-+").replace("_", "").isdigit()
    if name in SEQUENCES and is_number:
        return tuple(replace(task, steps=int(tail)) for task in SEQUENCES[name]())
    if name and is_number:
        return (find_task(name, steps=int(tail)),)
    if not part:
        raise ValueError("an empty name in the list of environments: remove the extra comma")
    return SEQUENCES[part]() if part in SEQUENCES else (find_task(part),)
