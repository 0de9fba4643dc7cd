"""Buffers of several tasks side by side in one storage: where they are, what they hold, saved."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from buffers import saved
from buffers.buffer import Buffer, Common
from buffers.checks import checked_errors

MakePart = Callable[..., Buffer]


class TaskBlocks(Buffer):
    """The part of a `TaskBuffer` that is neither keeping nor drawing.

    Args:
        rows: rows of each task, or of all tasks together if `shared`.
        kind: what makes a task's buffer: `kind(capacity, **common)`.
        shared: whether `rows` is one budget for all tasks.
        common: `state, action, extra, seed, storage, path`; see `Buffer`.
    """

    def __init__(self, rows: int, kind: MakePart, shared: bool, **common: Unpack[Common]) -> None:
        super().__init__(rows, **common)
        common.pop("storage", None)
        common.pop("path", None)
        self._kind, self._shared, self._common = kind, shared, common
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
    def needs_feedback(self) -> bool:
        """Whether the tasks' buffers need it, or this is a kind that overrides `feedback`."""
        return self._needs_feedback or not self._as_in(TaskBlocks, "feedback")

    def idle(self) -> str | None:
        """Say so if no task's buffer had a choice to make yet."""
        notes = {task: part.idle() for task, part in self._parts.items()}
        if None in notes.values():
            return None
        return "; ".join(f"task {task}: {note}" for task, note in notes.items()) or super().idle()

    def rows(self, task: int | None = None) -> np.ndarray:
        """Index of every stored row, or of those of one task; int64, ascending."""
        parts = enumerate(self._parts.items())
        mine = [k * self.rows_per_task + p.rows() for k, (t, p) in parts if task in (None, t)]
        return np.concatenate([np.empty(0, np.int64), *mine])

    def waiting(self, column: str) -> np.ndarray:
        """Copy a column of the rows that the tasks' buffers may yet store."""
        parts = [part.waiting(column) for part in self._parts.values()]
        return np.concatenate([super().waiting(column), *parts])

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

    def _grow(self, tasks: int) -> None:
        if len(self._storage) < (slots := self._quota(tasks) * tasks):
            self._storage.grow(slots, list(self._used()))
            self._lay_out()

    def _used(self) -> Iterator[slice]:
        """Of each block the slots up to the last that has a row."""
        for block, part in enumerate(self._parts.values()):
            first = block * self.rows_per_task
            yield slice(first, first + int(part.rows().max(initial=-1)) + 1)

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
