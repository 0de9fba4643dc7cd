"""A buffer for every task, side by side in one storage."""

from collections.abc import Mapping
from itertools import accumulate
from typing import Unpack

import numpy as np

from buffers.buffer import Buffer, Common
from buffers.draws import uniform
from buffers.places import somewhere
from buffers.reservoir import ReservoirBuffer
from buffers.rows import Rows, as_rows
from buffers.task_blocks import MakePart, TaskBlocks

NO_EARLIER_TASK = "no row of an earlier task to sample; add another task or end_task()"


class TaskBuffer(TaskBlocks):
    """Gives each task a block of slots, in which a buffer of its own decides what to keep.

    Tasks need not be known beforehand. The block of a task is made when its first row comes: either
    storage grows by `rows` slots, or, if `shared`, the blocks of all tasks shrink to an equal part
    of `rows`. Draws are uniform over the rows of all tasks but the current one, which is the task
    of the last row added; after `end_task` there is no current task until a row is added.

    Args:
        rows: rows of each task, or of all tasks together if `shared`.
        kind: what makes a task's buffer: `kind(capacity, **common)`.
        shared: whether `rows` is one budget for all tasks.
        draw_current: whether rows of the current task are drawn as well.
        common: `state, action, extra, seed, storage, path`; see `Buffer`.
    """

    def __init__(
        self,
        rows: int,
        *,
        kind: MakePart = ReservoirBuffer,
        shared: bool = False,
        draw_current: bool = False,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(rows, kind, shared, **common)
        self._draw_current = draw_current
        if not draw_current:
            self._nothing_to_draw = NO_EARLIER_TASK

    @property
    def drawable(self) -> int:
        """Rows that `sample` draws from: those of all tasks but the current one."""
        return sum(self._eligible())

    def end_task(self) -> None:
        """Take note that the current task ends here: its rows can be drawn from now on."""
        if self._current is not None:
            self._parts[self._current].end_task()
        self._current = None

    def clear(self) -> None:
        """Drop all rows and forget the tasks. `seen` and the random stream go on."""
        super().clear()
        self._parts, self._current = {}, None

    def _reserve(self, rows: Rows) -> None:
        self._make_room(distinct(rows["task"]))
        super()._reserve(rows)

    def _insert(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        rows = as_rows(self.columns, rows)
        n, task = rows.n, rows["task"]
        tasks = distinct(task)
        self._make_room(tasks)
        if later := [value for value in tasks[1:] if value not in self._parts]:
            # Blocks may shrink between the rows before a new task and those from it on.
            new = int(np.argmax(task == later[0]))
            self._insert(rows.some(slice(new)))
            self._insert(rows.some(slice(new, None)))
            return self._slots_of_newest(n)
        if self._storage.count_to(self.seen + n):
            self._lay_out()
        if len(tasks) == 1:  # nearly always
            slots = self._insert_of(tasks[0], rows, np.arange(self.seen, self.seen + n))
        else:
            slots = self._insert_each(tasks, rows)
        self._current = int(task[-1]) if n else self._current
        self.seen += n
        self._added += n
        self._commit()
        return slots

    def _insert_each(self, tasks: list[int], rows: Rows) -> np.ndarray:
        """Store rows of several tasks, or none."""
        slots, task = np.empty(rows.n, np.int64), rows["task"]
        for value in tasks:
            mine = np.flatnonzero(task == value)
            slots[mine] = self._insert_of(value, rows.some(mine), self.seen + mine)
        return slots

    def _insert_of(self, task: int, rows: Rows, born: np.ndarray) -> np.ndarray:
        """Store rows of one task, which have these places in the stream of all rows, int64 [n]."""
        if task not in self._parts:
            self._open(task)
        part, first = self._parts[task], list(self._parts).index(task) * self.rows_per_task
        slots = part._insert(rows)
        part._number(born)
        kept, own = somewhere(slots)
        if not len(kept):
            return slots
        own += first
        self._storage.born[own] = born.take(kept)
        if len(kept) == rows.n:
            return own
        slots = slots.copy()
        slots[kept] = own
        return slots

    def _make_room(self, tasks: list[int]) -> None:
        """Let storage grow for the tasks that are new, before anything else changes."""
        number = len(self._parts) + sum(task not in self._parts for task in tasks)
        if self._shared and number > self._capacity:
            raise ValueError(f"{self._capacity} rows are too few for {number} tasks; hold more")
        self._grow(number)

    def _slots_of_newest(self, n: int) -> np.ndarray:
        """Where the newest `n` rows are, -1 where they are no more."""
        stored = self.rows()
        order = n - 1 - self.ages()
        slots = np.full(n, -1)
        slots[order[order >= 0]] = stored[order >= 0]
        return slots

    def _open(self, task: int) -> None:
        """Make room for a task."""
        before = self.rows_per_task
        self._parts[task] = self._make(before, int(self._rng.integers(2**62)))
        rows = self.rows_per_task
        for block, part in enumerate(self._parts.values()):
            if rows < before:
                part.shrink(rows)
                self._storage.move(block * before + np.arange(len(part)), block * rows)
        self._lay_out()
        if rows < before:
            self._storage.keep(self.rows())

    def _eligible(self) -> list[int]:
        """Rows of each block that can be drawn."""
        return [
            0 if task == self._current and not self._draw_current else part.drawable
            for task, part in self._parts.items()
        ]

    def _draw(self, n: int) -> np.ndarray:
        rows, slots = self._eligible(), np.empty(n, np.int64)
        end = np.array([*accumulate(rows)])
        block = end.searchsorted(uniform(self._rng, float(end[-1]), n), side="right")
        for number, part in enumerate(self._parts.values()):
            if rows[number] and len(mine := (block == number).nonzero()[0]):
                slots[mine] = part._draw(len(mine))
        block *= np.array(self.rows_per_task)  # NumPy multiplies by an array in half the time
        slots += block
        return slots

    def _weigh(self, slots: np.ndarray) -> np.ndarray:
        if all(part._as_in(Buffer, "_weigh") for part in self._parts.values()):
            return super()._weigh(slots)
        weight = np.ones(len(slots), np.float32)
        for part, mine, local in self._by_part(slots):
            weight[mine] = part._weigh(local)
        return weight

    def _corrects(self) -> bool:
        return any(part._corrects() for part in self._parts.values())


def distinct(task: np.ndarray) -> list[int]:
    """Each task once, in the order of their first rows."""
    if len(task) == 1 or (len(task) and (task == task[0]).all()):  # nearly always, and sooner
        return [int(task[0])]
    return list(dict.fromkeys(task.tolist()))
