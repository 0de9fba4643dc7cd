"""A uniform sample of every task ever seen (Vitter, 1985, algorithm R, once per task)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from buffers import state as saved
from buffers.columns import Column
from buffers.replay import ReplayBuffer


class TaskReservoir(ReplayBuffer):
    """Keeps `rows_per_task` rows of each task, each row of a task with the same probability.

    Draws uniformly from the rows of all tasks but the current one, which is the task of the last
    row added; after `end_task` there is no current task until a row is added. Tasks need not be
    known beforehand: storage grows by one block of `rows_per_task` slots when a task is new.

    Args:
        rows_per_task: rows kept of each task.
        state, action, extra, seed: as of `ReplayBuffer`.
    """

    def __init__(
        self,
        rows_per_task: int = 500,
        *,
        state: Column,
        action: Column = Column((), np.int64),  # noqa: B008 (immutable)
        extra: Mapping[str, Column] | None = None,
        seed: int | np.random.SeedSequence | np.random.Generator = 0,
    ) -> None:
        super().__init__(rows_per_task, state=state, action=action, extra=extra, seed=seed)
        self._block: dict[int, int] = {}  # task -> its block, in the order of appearance
        self._offered = np.zeros(0, np.int64)  # rows offered of each block's task
        self._current: int | None = None

    def __len__(self) -> int:
        return int(self._filled().sum())

    @property
    def rows_per_task(self) -> int:
        """Rows kept of each task."""
        return self._capacity

    @property
    def capacity(self) -> int:
        """Rows it can hold of the tasks so far."""
        return len(self._storage)

    @property
    def earlier(self) -> int:
        """Rows that can be drawn: those of all tasks but the current one."""
        return int(self._eligible().sum())

    def end_task(self) -> None:
        """Take note that the current task ends here: its rows can be drawn from now on."""
        self._current = None

    def clear(self) -> None:
        """Drop all rows and forget the tasks. `seen` and the random stream go on."""
        super().clear()
        self._block, self._offered, self._current = {}, np.zeros(0, np.int64), None

    def _admit(self, task: np.ndarray) -> np.ndarray:
        first, order = np.empty((2, len(task)), np.int64)
        for value in dict.fromkeys(task.tolist()):
            mine = np.flatnonzero(task == value)
            block = self._block_of(value)
            first[mine] = block * self.rows_per_task
            order[mine] = self._offered[block] + np.arange(len(mine))
            self._offered[block] += len(mine)
        if len(task):
            self._current = int(task[-1])
        # One draw per row, in the order of the rows: a batch draws what its rows would one by one.
        slot = self._rng.integers(order + 1)
        slot = np.where(order < self.rows_per_task, order, slot)
        return np.where(slot < self.rows_per_task, first + slot, -1)

    def _block_of(self, task: int) -> int:
        if task not in self._block:
            self._fit(len(self._block) + 1)
            self._block[task] = len(self._block)
            self._offered = np.append(self._offered, 0)
        return self._block[task]

    def _fit(self, blocks: int) -> None:
        if len(self._storage) < blocks * self.rows_per_task:
            self._storage.grow(blocks * self.rows_per_task)

    def _filled(self) -> np.ndarray:
        """Rows stored in each block; they fill it from its first slot on."""
        return np.minimum(self._offered, self.rows_per_task)

    def _eligible(self) -> np.ndarray:
        """Rows of each block that can be drawn."""
        rows = self._filled()
        if self._current is not None:
            rows[self._block[self._current]] = 0
        return rows

    def _draw(self, n: int) -> np.ndarray:
        rows = self._eligible()
        end = rows.cumsum()
        if not rows.any():
            raise ValueError("no row of an earlier task to sample; add another task or end_task()")
        pick = self._rng.integers(end[-1], size=n)
        block = end.searchsorted(pick, side="right")
        before = (end - rows)[block]
        return np.asarray(block * self.rows_per_task + pick - before)

    def _stored(self, slots: np.ndarray) -> np.ndarray:
        filled = np.append(self._filled(), 0)  # the last stands for every slot of no block
        block = slots // self.rows_per_task
        block = np.where((block < 0) | (block >= len(filled)), len(filled) - 1, block)
        return np.asarray(slots % self.rows_per_task < filled[block])

    def _counters(self) -> dict[str, Any]:
        return {
            **super()._counters(),
            "tasks": list(self._block),
            "offered": self._offered.tolist(),
            "current": self._current,
        }

    def _check_counters(self, state: Mapping[str, Any]) -> int:
        super()._check_counters(state)
        tasks, offered, current = state["tasks"], state["offered"], state["current"]
        lists = isinstance(tasks, list) and isinstance(offered, list)
        if not lists or len(set(tasks)) != len(offered) or current not in (None, *tasks):
            raise ValueError(f"state has tasks {tasks}, offered {offered}, current {current}")
        counts = {f"rows of task {t}": n for t, n in zip(tasks, offered, strict=True)}
        saved.check_counters(counts, *counts)
        return sum(min(rows, self.rows_per_task) for rows in offered)

    def _load_counters(self, state: Mapping[str, Any]) -> None:
        super()._load_counters(state)
        self._block = {task: block for block, task in enumerate(state["tasks"])}
        self._offered = np.array(state["offered"], np.int64)
        self._current = state["current"]
        self._fit(len(self._block))
