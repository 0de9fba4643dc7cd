"""The base of every buffer: two questions, `_admit` (what to keep) and `_draw` (what to draw)."""

from collections.abc import Mapping
from os import PathLike
from typing import Any, ClassVar, Required, TypedDict

import numpy as np

from buffers.base import Kind, Seed, StoredRows
from buffers.columns import Column, Columns, Sample, bounded, make_columns
from buffers.draws import ones, uniform
from buffers.layout import Batch
from buffers.places import one_slot
from buffers.rows import Rows

_tuple = tuple.__new__


class Common(TypedDict, total=False):
    """What every buffer's constructor takes beside its own arguments; see `Buffer`."""

    state: Required[Columns]
    action: Column
    extra: Mapping[str, Columns] | None
    seed: Seed
    storage: Kind
    path: str | PathLike[str] | None


class Buffer(StoredRows):
    """Rows of columns, offered in batches and drawn in batches.

    Columns are `state, action, reward, next_state, done`, required in every `add`, then
    `truncated`, `task` and the extra ones, which are filled where not given. `done` means that the
    episode terminated; a truncated step is not done, so that the learner bootstraps from it.

    A new idea of what to keep overrides `_admit`, one of what to draw `_draw` and `_weigh`. What it
    has to remember for that goes into `_counters`.

    Args:
        capacity: rows it can hold.
        state: shape and dtype of `state` and `next_state`; or, for observations that are dicts, a
            dict of columns. Rows are then added and drawn with dicts of arrays.
        action: shape and dtype of `action`.
        extra: further columns, such as `{"q": Column((4,))}`.
        seed: of the random generator that makes every draw; a Generator is used as it is and may be
            shared.
        storage: "memory", or "memmap" for rows in files, more than memory holds. They outlive the
            process: the same buffer made again holds the rows of all adds that were complete, also
            after a crash, if it remembers nothing but rows (`_counters`); its random draws are
            others then.
        path: folder of the files.

    Attributes:
        columns: name -> Column; columns in dicts are named by their path, such as `state.image`.
        seen: rows ever offered to `add`; `clear` does not reset it.
        needs: extra columns that this kind of buffer makes use of.

    Raises:
        ValueError: capacity below 1, a column of an unusable name or dtype, or a folder that holds
            another buffer.
        MemoryError: all rows need more memory than there is; see `bytes_needed`.
        OSError: the disk has no room for all rows.
    """

    needs: ClassVar[Mapping[str, Column]] = {}
    _nothing_to_draw = "cannot sample from an empty buffer; add rows first"

    def __init__(
        self,
        capacity: int,
        *,
        state: Columns,
        action: Column = Column((), np.int64),  # noqa: B008 (immutable)
        extra: Mapping[str, Columns] | None = None,
        seed: Seed = 0,
        storage: Kind = "memory",
        path: str | PathLike[str] | None = None,
    ) -> None:
        super().__init__(capacity, make_columns(state, action, extra), seed, storage, path)

    @property
    def drawable(self) -> int:
        """Rows that `sample` draws from."""
        return len(self)

    @property
    def needs_feedback(self) -> bool:
        """Whether `feedback` changes anything."""
        return type(self).feedback is not Buffer.feedback

    def add(self, rows: Mapping[str, Any]) -> np.ndarray:
        """Offer a batch of rows, arrays [n, ...] or dicts of them by column name; all is copied.

        Returns:
            Where each row is stored, int64 [n]; -1 where it was dropped or a later row of the
            same batch took its place.

        Raises:
            ValueError: a column is missing, unknown, of a wrong shape, dtype or row count, or not
                finite. The buffer then stays as it was.
            OSError: the disk has no room for the rows. The buffer then stays as it was, and so
                does what it draws and keeps from then on.
        """
        checked = self._intake.checked(rows)
        if self._in_files:
            self._reserve(checked)
        return self._insert(checked)

    def sample(self, n: int, out: Mapping[str, Any] | None = None) -> Sample:
        """Draw `n` rows.

        Args:
            n: number of rows.
            out: arrays [n, *shape] by column name to write into, other columns are not read; or
                what `batch` returns, which costs less than new arrays; or a `Batch` that has a
                place for the index and the weight too, which costs least.

        Raises:
            ValueError: nothing is stored, or `out` has an unknown column or a wrong shape or dtype.
        """
        sample = self._sample(n, out)
        return bounded(sample) if self._corrects() else sample

    def _sample(self, n: int, out: Mapping[str, np.ndarray] | None = None) -> Sample:
        """Draw as a part of a larger sample, whose weights are bounded together."""
        if not self.drawable:
            raise ValueError(self._nothing_to_draw)
        storage = self._storage
        if type(out) is Batch and out.kept and out.fits(storage.layout, n):
            return self._sample_to(out, out.kept)
        slots = self._draw(n)
        data = self._take(slots, out) if storage.nested else storage.take(slots, out)
        return _tuple(Sample, (data, slots, self._weigh(slots)))  # half the time of `Sample(...)`

    def _sample_to(self, batch: Batch, kept: Sample) -> Sample:
        """Draw into a batch, its index and its weight."""
        slots = self._draw(len(kept.index))
        self._storage.fill(batch, slots)
        kept.index[...], kept.weight[...] = slots, self._weigh(slots)
        return kept

    def batch(self, n: int) -> Batch:
        """Return arrays, by column name, for `sample` to write `n` rows into again and again."""
        return self._storage.layout.batch(n)

    def waiting(self, column: str) -> np.ndarray:
        """Copy a column of the rows that may yet be stored, such as those of running episodes."""
        return np.empty((0, *self.columns[column].shape), self.columns[column].dtype)

    def feedback(self, index: np.ndarray, td_error: np.ndarray) -> None:
        """Tell how wrong the learner was on the rows at `index`. Uniform replay does not care."""

    def end_task(self) -> None:
        """Take note that the current task ends here."""

    def clear(self) -> None:
        """Drop all rows. `seen` and the random stream go on."""
        self._added = 0
        self._storage.keep(np.arange(0))
        self._commit()

    def idle(self) -> str | None:
        """Say so if the buffer had no choice to make yet: it holds all that it was offered."""
        if not 0 < self._added <= self._capacity:
            return None
        return f"all {self._added:,} rows offered fit into {self._capacity:,}: none was given up"

    def shrink(self, capacity: int) -> None:
        """Hold `capacity` rows from now on; which of them stay, the rule of the buffer decides.

        Raises:
            ValueError: it is none, or more than now. The buffer then stays as it was.
            NotImplementedError: a buffer of this kind cannot shrink.
        """
        if not 1 <= capacity <= self._capacity:
            raise ValueError(f"capacity {capacity}: choose from 1 to {self._capacity}, as now")
        self._shrink(capacity)

    def _shrink(self, capacity: int) -> None:
        kept = self._keep(min(capacity, len(self)))
        self._storage.move(kept)
        self._capacity = capacity
        self._moved(kept)
        self._storage.keep(np.arange(len(kept)))
        self._commit()

    def _reserve(self, rows: Rows) -> None:
        """See to it that the disk has room for checked rows, before anything changes."""
        # Of more rows than these some overwrite others, whose frames are then free again.
        self._storage.reserve(min(rows.n, 2 * len(self._storage)), rows)

    def _insert(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        """Store checked rows."""
        rows = rows if isinstance(rows, Rows) else Rows(self.columns, rows)
        n, slots = rows.n, self._admit(rows)
        slots = self._put(slots, rows)
        self.seen += n
        self._added += n
        self._commit()
        return slots

    def _insert_one(self, slot: int, rows: Rows) -> np.ndarray:
        """Store the one row there is in a slot, or nowhere if that is -1; in fewer calls."""
        if slot >= 0:
            self._storage.put_one(slot, rows, self.seen)
        self.seen += 1
        self._added += 1
        if self._in_files:
            self._storage.commit(self.seen, self._added)
        return one_slot(slot)

    def _as_in(self, kind: type["Buffer"], *hooks: str) -> bool:
        """Whether these functions are those of `kind`, which then may do the same without them."""
        return all(getattr(type(self), hook) is getattr(kind, hook) for hook in hooks)

    def _number(self, born: np.ndarray) -> None:
        """Take note of which rows of the whole stream those just inserted are, int64 [n].

        Only a buffer that stores rows later than it gets them has to.
        """

    def _put(self, slots: np.ndarray, rows: Rows) -> np.ndarray:
        """Write rows to the slots that `_admit` has chosen; return where they are."""
        return self._storage.put(slots, rows, self.seen)

    def _admit(self, rows: Rows) -> np.ndarray:
        """Slot for each of the offered rows; -1 drops it, and so does a later row of its slot."""
        raise NotImplementedError

    def _draw(self, n: int) -> np.ndarray:
        """Slots of `n` stored rows; there are some."""
        # `Together` does this, and what `_weigh` does, for several buffers at once.
        return uniform(self._rng, len(self), n)

    def _weigh(self, slots: np.ndarray) -> np.ndarray:
        """Importance weight of each row drawn, float32 [n]."""
        return ones(len(slots)).copy()  # a fifth of the time of np.ones

    def _corrects(self) -> bool:
        """Whether weights correct for uneven draws: `sample` then makes its largest 1."""
        return False

    def _keep(self, rows: int) -> np.ndarray:
        """Slots of the `rows` rows that stay when the buffer shrinks, in their new order."""
        raise NotImplementedError(f"a {type(self).__name__} cannot shrink; make a smaller one")

    def _moved(self, kept: np.ndarray) -> None:
        """Take note that the row of slot kept[i] is in slot i now and all others are gone."""
