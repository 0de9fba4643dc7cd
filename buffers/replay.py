"""Uniform replay from a ring (Lin, 1992; Mnih et al., 2015), and the base of every other buffer.

A buffer answers two questions: `_admit` says what to keep, `_draw` what to draw. A new idea
overrides one of them.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from buffers.base import StoredRows
from buffers.columns import Column, Memory, Sample, checked_rows, make_columns
from buffers.storage import last_writes

__all__ = ["Column", "Memory", "ReplayBuffer", "Sample"]


class ReplayBuffer(StoredRows):
    """First in, first out: keeps the newest `capacity` rows and draws uniformly, with replacement.

    Columns are `state, action, reward, next_state, done`, required in every `add`, then
    `truncated`, `task` and the extra ones, which are filled where not given. `done` means that the
    episode terminated; a truncated step is not done, so that the learner bootstraps from it.

    Args:
        capacity: rows it can hold.
        state: shape and dtype of `state` and `next_state`.
        action: shape and dtype of `action`.
        extra: further columns, such as `{"q": Column((4,))}`.
        seed: whence every draw follows; a Generator is used as it is and may be shared.
        clear_at_switch: whether `end_task` drops all rows.

    Attributes:
        columns: name -> Column.
        seen: rows ever offered to `add`; `clear` does not reset it.

    Raises:
        ValueError: capacity below 1, or a column of an unusable name or dtype.
    """

    def __init__(
        self,
        capacity: int,
        *,
        state: Column,
        action: Column = Column((), np.int64),  # noqa: B008 (immutable)
        extra: Mapping[str, Column] | None = None,
        seed: int | np.random.SeedSequence | np.random.Generator = 0,
        clear_at_switch: bool = False,
    ) -> None:
        super().__init__(capacity, make_columns(state, action, extra), seed)
        self._clear_at_switch = clear_at_switch

    def add(self, rows: Mapping[str, ArrayLike]) -> np.ndarray:
        """Offer a batch of rows, arrays [n, ...] by column name; all is copied.

        Returns:
            Where each row is stored, int64 [n]; -1 where it was dropped or a later row of the
            same batch took its place.

        Raises:
            ValueError: a column is missing, unknown, of a wrong shape, dtype or row count, or not
                finite. The buffer then stays as it was.
        """
        return self._insert(checked_rows(self.columns, rows))

    def _insert(self, rows: dict[str, np.ndarray]) -> np.ndarray:
        slots = last_writes(self._admit(rows["task"]))
        self._storage.put(slots, rows, self.seen)
        self.seen += len(slots)
        self._added += len(slots)
        return slots

    def _admit(self, task: np.ndarray) -> np.ndarray:
        """Slot for each of the offered rows, given their tasks; -1 drops a row."""
        return (self._added + np.arange(len(task))) % self._capacity

    def _draw(self, n: int) -> np.ndarray:
        """Slots of `n` stored rows."""
        if not len(self):
            raise ValueError("cannot sample from an empty buffer; add rows first")
        return self._rng.integers(len(self), size=n)

    def sample(self, n: int, out: Mapping[str, np.ndarray] | None = None) -> Sample:
        """Draw `n` rows.

        Args:
            n: number of rows.
            out: arrays [n, *shape] by column name to write into; other columns are not read.

        Raises:
            ValueError: nothing is stored, or `out` has an unknown column or a wrong shape.
        """
        slots = self._draw(n)
        return Sample(self._storage.take(slots, out), slots, np.ones(n, np.float32))

    def feedback(self, index: np.ndarray, td_error: np.ndarray) -> None:
        """Tell how wrong the learner was on the rows at `index`. Uniform replay does not care."""

    def end_task(self) -> None:
        """Take note that the current task ends here; clears if so constructed."""
        if self._clear_at_switch:
            self.clear()

    def clear(self) -> None:
        """Drop all rows. `seen` and the random stream go on."""
        self._added = 0
