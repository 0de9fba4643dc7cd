"""A buffer for every task, side by side in one storage."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from buffers import state as saved
from buffers.buffer import Buffer, Common, uniform
from buffers.columns import checked_errors
from buffers.reservoir import ReservoirBuffer
from buffers.rows import Rows, as_rows
from buffers.storage import NONE

MakePart = Callable[..., Buffer]


class TaskBuffer(Buffer):
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
        common: `state, action, extra, seed`, as of `Buffer`.
    """

    _nothing_to_draw = "no row of an earlier task to sample; add another task or end_task()"

    def __init__(
        self,
        rows: int,
        *,
        kind: MakePart = ReservoirBuffer,
        shared: bool = False,
        draw_current: bool = False,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(rows, **common)
        common.pop("storage", None)
        common.pop("path", None)
        self._kind, self._common = kind, common
        self._shared, self._draw_current = shared, draw_current
        self._parts: dict[int, Buffer] = {}  # by task, in the order of their blocks
        self._current: int | None = None
        # Refuses now what it would refuse when the first row comes.
        self._needs_feedback = self._make(1).needs_feedback

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._lay_out()  # blocks come back from a pickle as copies

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts.values())

    @property
    def rows_per_task(self) -> int:
        """Rows kept of each of the tasks so far."""
        return self._quota(len(self._parts))

    @property
    def capacity(self) -> int:
        """Rows it can hold of the tasks so far."""
        return len(self._storage)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, also of those that the tasks' buffers have beside the rows."""
        parts = self._parts.values()
        return super().nbytes + sum(part.nbytes - part._storage.nbytes for part in parts)

    @property
    def drawable(self) -> int:
        """Rows that `sample` draws from: those of all tasks but the current one."""
        return sum(self._eligible())

    @property
    def needs_feedback(self) -> bool:
        """Whether the tasks' buffers need it."""
        return self._needs_feedback

    def end_task(self) -> None:
        """Take note that the current task ends here: its rows can be drawn from now on."""
        if self._current is not None:
            self._parts[self._current].end_task()
        self._current = None

    def idle(self) -> str | None:
        """Say so if no task's buffer had a choice to make yet."""
        notes = {task: part.idle() for task, part in self._parts.items()}
        if None in notes.values():
            return None
        return "; ".join(f"task {task}: {note}" for task, note in notes.items()) or super().idle()

    def clear(self) -> None:
        """Drop all rows and forget the tasks. `seen` and the random stream go on."""
        super().clear()
        self._parts, self._current = {}, None

    def rows(self, task: int | None = None) -> np.ndarray:
        """Index of every stored row, or of those of one task; int64, ascending."""
        parts = enumerate(self._parts.items())
        mine = [k * self.rows_per_task + p.rows() for k, (t, p) in parts if task in (None, t)]
        return np.concatenate([np.empty(0, np.int64), *mine])

    def feedback(self, index: np.ndarray, td_error: np.ndarray) -> None:
        """Tell each task's buffer how wrong the learner was on its rows at `index`.

        Raises:
            ValueError: as of `Prioritized.feedback`; no buffer is told anything then.
        """
        index, td_error = checked_errors(index, td_error)
        for part, mine, slots in self._by_part(index):
            part.feedback(slots, td_error[mine])

    def reasons(self, index: ArrayLike) -> list[Any]:
        """Say why each of the rows at `index` [n] is held, as `CoresetBuffer.reasons` does.

        Raises:
            ValueError: no row is stored there, or the buffers of the tasks give no reasons.
        """
        slots = self._checked_index(index)
        found: dict[int, Any] = {}
        for part, mine, local in self._by_part(slots):
            if not hasattr(part, "reasons"):
                raise ValueError(f"a {type(part).__name__} gives no reasons; use a coreset")
            found |= dict(zip(mine.tolist(), part.reasons(local), strict=True))
        return [found[row] for row in range(len(slots))]

    def _known(self) -> dict[str, Any]:
        """Of each task's buffer the rows held and offered, and what its rule knows."""
        parts = self._parts.items()
        about = {
            str(task): {"rows": len(part), "seen": part.seen, **part._known()}
            for task, part in parts
        }
        return {"parts": about}

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
        kept = (slots > NONE).nonzero()[0]
        if not len(kept):
            return slots
        own = slots.take(kept) + first
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

    def _grow(self, tasks: int) -> None:
        if len(self._storage) < (slots := self._quota(tasks) * tasks):
            self._storage.grow(slots, list(self._used()))
            self._lay_out()

    def _used(self) -> Iterator[slice]:
        """Of each block the slots up to the last that has a row."""
        for block, part in enumerate(self._parts.values()):
            first = block * self.rows_per_task
            yield slice(first, first + int(part.rows().max(initial=-1)) + 1)

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

    def _lay_out(self) -> None:
        """Give each task's buffer its block of the storage."""
        rows = self.rows_per_task
        for block, part in enumerate(self._parts.values()):
            part._storage = self._storage.block(block * rows, rows)

    def _make(self, rows: int, seed: int = 0) -> Buffer:
        """A task's buffer, whose own storage is not used."""
        return self._kind(rows, **self._common | {"seed": seed})

    def _quota(self, tasks: int) -> int:
        return self._capacity // max(tasks, 1) if self._shared else self._capacity

    def _eligible(self) -> list[int]:
        """Rows of each block that can be drawn."""
        return [
            0 if task == self._current and not self._draw_current else part.drawable
            for task, part in self._parts.items()
        ]

    def _draw(self, n: int) -> np.ndarray:
        end = np.cumsum(self._eligible())
        block = end.searchsorted(uniform(self._rng, float(end[-1]), n), side="right")
        slots = np.empty(n, np.int64)
        for number, part in enumerate(self._parts.values()):
            mine = block == number
            if count := int(np.count_nonzero(mine)):
                slots[mine] = number * self.rows_per_task + part._draw(count)
        return slots

    def _weigh(self, slots: np.ndarray) -> np.ndarray:
        weight = np.ones(len(slots), np.float32)
        for part, mine, local in self._by_part(slots):
            weight[mine] = part._weigh(local)
        return weight

    def _corrects(self) -> bool:
        return any(part._corrects() for part in self._parts.values())

    def _stored(self, slots: np.ndarray) -> np.ndarray:
        stored = np.zeros(len(slots), bool)
        for part, mine, local in self._by_part(slots):
            stored[mine] = part._stored(local)
        return stored

    def _by_part(self, slots: np.ndarray) -> Iterator[tuple[Buffer, np.ndarray, np.ndarray]]:
        """Each buffer that some slots belong to: it, which slots, and their numbers there."""
        block = slots // self.rows_per_task
        for number, part in enumerate(self._parts.values()):
            mine = np.flatnonzero(block == number)
            if len(mine):
                yield part, mine, slots[mine] - number * self.rows_per_task

    def state_dict(self) -> dict[str, Any]:
        """Copy all that the future of the buffer depends on, as a flat dict."""
        own = {
            "kind": type(self).__name__,
            "capacity": self._capacity,
            "seen": self.seen,
            "rng": saved.save_generator(self._rng),
            **self._counters(),
        }
        parts = [saved.prefixed(str(t), part.state_dict()) for t, part in self._parts.items()]
        return {key: value for state in (own, *parts) for key, value in state.items()}

    def _counters(self) -> dict[str, Any]:
        return {"added": self._added, "tasks": list(self._parts), "current": self._current}

    def _check_state(self, state: Mapping[str, Any]) -> None:
        saved.check_settings(state, {"kind": type(self).__name__, "capacity": self._capacity})
        own = [key for key in state if "." not in key]
        names = ["kind", "capacity", "seen", "rng", "added", "tasks", "current"]
        saved.check_keys(own, names)
        saved.check_counters(state, "seen", "added")
        saved.check_generator(self._rng, state["rng"])
        tasks, current = state["tasks"], state["current"]
        if not isinstance(tasks, list) or current not in (None, *tasks):
            raise ValueError(f"state has tasks {tasks}, current {current}")
        parts = saved.unprefixed(state, [str(task) for task in tasks])
        rows = self._quota(len(tasks))
        for part in parts.values():
            self._make(rows)._check_state(part)

    def _load_state(self, state: Mapping[str, Any]) -> None:
        self._grow(len(state["tasks"]))
        self.seen, self._added, self._current = state["seen"], state["added"], state["current"]
        self._rng.bit_generator.state = state["rng"]
        self._storage.count_to(self.seen)
        self._storage.keep(np.arange(0))
        rows = self._quota(len(state["tasks"]))
        self._parts = {task: self._make(rows) for task in state["tasks"]}
        self._lay_out()
        for task, part in saved.unprefixed(state, [str(t) for t in self._parts]).items():
            self._parts[int(task)]._load_state(part)


def distinct(task: np.ndarray) -> list[int]:
    """Each task once, in the order of their first rows."""
    if len(task) and (task == task[0]).all():  # nearly always; a fifth of the time
        return [int(task[0])]
    return list(dict.fromkeys(task.tolist()))
