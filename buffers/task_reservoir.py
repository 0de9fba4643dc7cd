"""Reservoirs with a share for every task."""

from typing import Unpack

from buffers.buffer import Common
from buffers.task_buffer import TaskBuffer


class TaskReservoir(TaskBuffer):
    """A uniform sample of every task: keeps `rows_per_task` rows of each, and draws earlier tasks.

    Args:
        rows_per_task: rows kept of each task.
        common: `state, action, extra, seed, storage, path`; see `Buffer`.
    """

    def __init__(self, rows_per_task: int = 500, **common: Unpack[Common]) -> None:
        super().__init__(rows_per_task, **common)


class BalancedReservoir(TaskBuffer):
    """A uniform sample of every task, all tasks together in `capacity` rows.

    With every new task the others give up rows at random, so that all have the same share; what
    stays is still a uniform sample. Draws rows of all tasks, the current one too.

    Args:
        capacity: rows kept of all tasks together.
        common: `state, action, extra, seed, storage, path`; see `Buffer`.
    """

    def __init__(self, capacity: int, **common: Unpack[Common]) -> None:
        super().__init__(capacity, shared=True, draw_current=True, **common)
