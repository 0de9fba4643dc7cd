"""The newest rows and a few of every earlier task, drawn together.

Rehearsal of stored rows at a fixed share follows CLEAR (Rolnick et al., 2019), which found half
and half to be a good share.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from buffers.columns import Column, Sample, checked_columns, checked_rows, contents
from buffers.replay import ReplayBuffer
from buffers.task_reservoir import TaskReservoir


class HybridBuffer:
    """A ring of recent rows (`recent`) and a reservoir per task (`memory`) behind one interface.

    Every row is offered to both. Once there are rows of earlier tasks, a `share` of each sample
    comes from them. Indices below `capacity` are recent rows, others `capacity` + slot in memory.

    Args:
        capacity: recent rows it can hold, not counting the memory.
        state, action, extra, seed: as of `ReplayBuffer`.
        clear_at_switch: whether `end_task` drops the recent rows.
        rows_per_task: rows the memory keeps of each task.
        share: of a sample, from 0 to 1, drawn from earlier tasks.
    """

    def __init__(
        self,
        capacity: int,
        *,
        state: Column,
        action: Column = Column((), np.int64),  # noqa: B008 (immutable)
        extra: Mapping[str, Column] | None = None,
        seed: int | np.random.SeedSequence | np.random.Generator = 0,
        clear_at_switch: bool = True,
        rows_per_task: int = 500,
        share: float = 0.5,
    ) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"share {share} is no share of a sample; choose 0 to 1")
        rng = np.random.default_rng(seed)  # one stream for both parts
        self.share = share
        common: Any = {"state": state, "action": action, "extra": extra, "seed": rng}
        self.recent = ReplayBuffer(capacity, clear_at_switch=clear_at_switch, **common)
        self.memory = TaskReservoir(rows_per_task, **common)
        self._parts = {"recent": self.recent, "memory": self.memory}
        self.columns = self.recent.columns

    def __len__(self) -> int:
        return len(self.recent) + len(self.memory)

    @property
    def capacity(self) -> int:
        """Recent rows it can hold; the memory comes on top."""
        return self.recent.capacity

    @property
    def seen(self) -> int:
        """Rows ever offered to `add`."""
        return self.recent.seen

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays of both parts."""
        return self.recent.nbytes + self.memory.nbytes

    def add(self, rows: Mapping[str, ArrayLike]) -> np.ndarray:
        """Offer a batch of rows to both parts; see `ReplayBuffer.add`.

        Returns:
            Where each row is stored among the recent ones. A copy in memory has another index.
        """
        checked = checked_rows(self.columns, rows)
        self.memory._insert(checked)
        return self.recent._insert(checked)

    def sample(self, n: int, out: Mapping[str, np.ndarray] | None = None) -> Sample:
        """Draw `n` rows, the two parts interleaved so that every minibatch has the same share.

        Row i comes from memory if and only if floor((i + 1) * share) > floor(i * share).

        Arguments and errors are those of `ReplayBuffer.sample`.
        """
        old = self._from_memory(n)
        index = np.empty(n, np.int64)
        if old.any():
            index[old] = self.capacity + self.memory._draw(int(old.sum()))
        if not old.all():
            index[~old] = self.recent._draw(int((~old).sum()))
        return Sample(self._take(index, out), index, np.ones(n, np.float32))

    def _from_memory(self, n: int) -> np.ndarray:
        """Which of `n` rows come from memory, bool [n]."""
        if not self.memory.earlier:
            return np.zeros(n, bool)
        if not len(self.recent):
            return np.ones(n, bool)
        whole = np.floor(np.arange(n + 1) * self.share + 1e-9)  # 0.29 * 100 < 29 in floats
        return np.asarray(np.diff(whole) > 0)

    def _take(
        self, index: np.ndarray, out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        old = np.flatnonzero(index >= self.capacity)
        slots = index[old] - self.capacity
        data = self.recent._storage.take(np.minimum(index, self.capacity - 1), out)
        for name, values in data.items():  # rows of memory replace what stands in their place
            values[old] = self.memory._storage.data[name].take(slots, axis=0)
        return data

    def feedback(self, index: np.ndarray, td_error: np.ndarray) -> None:
        """Tell how wrong the learner was on the rows at `index`. Uniform replay does not care."""

    def end_task(self) -> None:
        """Take note that the current task ends here: it is an earlier one from now on."""
        self.recent.end_task()
        self.memory.end_task()

    def clear(self) -> None:
        """Drop all rows of both parts. `seen` and the random stream go on."""
        self.recent.clear()
        self.memory.clear()

    def rows(self, task: int | None = None) -> np.ndarray:
        """Index of every stored row, or of those of one task; recent ones first."""
        return np.concatenate([self.recent.rows(task), self.capacity + self.memory.rows(task)])

    def ages(self) -> np.ndarray:
        """Rows offered since each stored row, in the order of `rows()`; the newest has age 0."""
        return np.concatenate([self.recent.ages(), self.memory.ages()])

    def read(self, index: ArrayLike) -> dict[str, np.ndarray]:
        """Copy the rows at `index` [n]. Raises ValueError where none is stored."""
        slots, _ = self._checked_index(index)
        return self._take(slots)

    def write(self, index: ArrayLike, **columns: ArrayLike) -> None:
        """Overwrite the given columns of the rows at `index`; see `ReplayBuffer.write`.

        A row in memory and its recent copy are two rows.
        """
        slots, old = self._checked_index(index)
        values = checked_columns(self.columns, columns, len(slots))
        self.recent._storage.overwrite(slots[~old], {k: v[~old] for k, v in values.items()})
        self.memory._storage.overwrite(
            slots[old] - self.capacity, {k: v[old] for k, v in values.items()}
        )

    def _checked_index(self, index: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        slots = np.asarray(index, np.int64).reshape(-1)
        old = slots >= self.capacity
        self.recent._checked_index(slots[~old])
        self.memory._checked_index(slots[old] - self.capacity)
        return slots, old

    def describe(self) -> dict[str, Any]:
        """Say what is held, in all and by part, as JSON can hold it."""
        tasks = [part._storage.data["task"][part.rows()] for part in self._parts.values()]
        return {
            "kind": type(self).__name__,
            "rows": len(self),
            "capacity": self.capacity,
            "seen": self.seen,
            "bytes": self.nbytes,
            **contents(np.concatenate(tasks), self.ages()),
            "recent": self.recent.describe(),
            "memory": self.memory.describe(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Copy all that the future of the buffer depends on, as a flat dict."""
        return {
            f"{part}.{key}": value
            for part, buffer in self._parts.items()
            for key, value in buffer.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become the saved buffer; see `ReplayBuffer.load_state_dict`."""
        if stray := [key for key in state if key.split(".")[0] not in self._parts]:
            raise ValueError(f"state has unknown {stray}; was it saved by another kind of buffer?")
        states = {
            part: {k.removeprefix(f"{part}."): v for k, v in state.items() if k.startswith(part)}
            for part in self._parts
        }
        for part, buffer in self._parts.items():
            buffer._check_state(states[part])
        for part, buffer in self._parts.items():
            buffer._load_state(states[part])
