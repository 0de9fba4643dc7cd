"""Rows of all ages, the older the rarer (Kaplanis, Clopath and Shanahan, 2020, 2004.07530)."""

from array import array
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Unpack

import numpy as np

from buffers.buffer import Buffer, Common
from buffers.rows import Rows
from buffers.saved import check_array


class MultiTimescaleBuffer(Buffer):
    """A cascade of first-in, first-out sub-buffers.

    A row enters the first sub-buffer. What a full sub-buffer pushes out enters the next one with
    probability `beta` and is forgotten otherwise, as is what leaves the last one. As long as the
    cascade is not full, forgotten rows wait in the room it leaves (the paper's overflow buffer) and
    the first of them that came there is given up first, so that no room is wasted.

    Sub-buffer i (from 0) of S rows is entered by a share beta^i of the rows, which stay there for
    about S / beta^i rows of the stream. So a row is still held after a rows of the stream with
    probability about 1 / (1 + a (1 - beta) / (S beta)): a power law, as far as there are
    sub-buffers. Draws are uniform over all rows held: each sub-buffer has the share of its rows.

    Deviations from the paper: a sample's shares hold in expectation instead of being rounded for
    each sample; a capacity that cannot be divided leaves the first sub-buffers one row more; a
    capacity below `num_buffers` makes sub-buffers of one row; how far a row would get is drawn when
    it arrives, which is the same in law. The paper's variant with invariant risk minimisation is
    not here. A row costs a walk over the sub-buffers that it moves rows in: 1 / (1 - beta) on
    average.

    Args:
        capacity: rows it can hold, in all sub-buffers.
        num_buffers: sub-buffers; the paper's 20 by default.
        beta: probability, from 0 to below 1, that a row goes on; the paper's 0.85 by default.
        common: `state, action, extra, seed, storage, path`; see `Buffer`.
    """

    def __init__(
        self,
        capacity: int,
        *,
        num_buffers: int = 20,
        beta: float = 0.85,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(capacity, **common)
        if num_buffers < 1 or not 0 <= beta < 1:
            raise ValueError(f"num_buffers {num_buffers}, beta {beta}: need >= 1 and 0 to below 1")
        self._num_buffers, self._beta = num_buffers, beta
        self._reach = array("i", bytes(4 * capacity))  # of each row: sub-buffers it may enter
        self._arrange([], [])

    def _arrange(self, parts: Sequence[Sequence[int]], overflow: Sequence[int]) -> None:
        """Put the rows of these slots, oldest first, into the sub-buffers and beside them."""
        sizes = sizes_of(self._capacity, self._num_buffers)
        self._ends = np.cumsum(sizes).tolist()
        self._firsts = [0, *self._ends[:-1]]
        self._ring = array("i", [-1] * self._capacity)  # slots, one sub-buffer after the other
        self._next = self._firsts.copy()  # where the next row goes, in each sub-buffer
        for i, part in enumerate(parts[: len(sizes)]):
            self._ring[self._firsts[i] : self._firsts[i] + len(part)] = array("i", part)
            self._next[i] += len(part) % sizes[i]
        self._overflow = deque(overflow)

    def _cascade(self) -> list[list[int]]:
        """Slots of the rows of each sub-buffer, oldest first."""
        bounds = zip(self._firsts, self._next, self._ends, strict=True)
        rings = [self._ring[at:end] + self._ring[first:at] for first, at, end in bounds]
        return [[slot for slot in ring if slot >= 0] for ring in rings]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, filled or not."""
        return super().nbytes + 4 * (len(self._ring) + len(self._reach))

    def clear(self) -> None:
        """Drop all rows. `seen` and the random stream go on."""
        super().clear()
        self._arrange([], [])

    def _known(self) -> dict[str, Any]:
        """The rows of each sub-buffer."""
        held = [len(part) for part in self._cascade()]
        return {"sub_buffers": held, "overflow": len(self._overflow)}

    def _admit(self, rows: Rows) -> np.ndarray:
        # One draw per row, in the order of the rows: a batch draws what its rows would one by one.
        reach = self._rng.geometric(1 - self._beta, rows.n)  # > r: beta**r
        reach = np.minimum(reach, len(self._ends)).tolist()
        slots = [self._push(r, held) for held, r in enumerate(reach, len(self))]
        return np.array(slots, np.int64)

    def _push(self, reach: int, held: int) -> int:
        """Make room for a row; it gets the slot of the row that is forgotten, if one has to be."""
        ring, position = self._ring, self._next
        moving, entry = -1, position[0]
        for level, end in enumerate(self._ends):
            at = position[level]
            moving, ring[at] = ring[at], moving
            position[level] = at + 1 if at + 1 < end else self._firsts[level]
            if moving < 0:  # there was room
                break
            if self._reach[moving] == level + 1:
                self._overflow.append(moving)
                break
        slot = held if held < self._capacity else self._overflow.popleft()
        ring[entry], self._reach[slot] = slot, reach
        return slot

    def _split(self, capacity: int) -> tuple[list[list[int]], list[int]]:
        """Slots that sub-buffers of `capacity` rows in all would hold, and all others."""
        parts = self._cascade()
        sizes = sizes_of(capacity, self._num_buffers) + [0] * len(parts)
        newest, beyond = [], []
        for part, size in zip(parts, sizes, strict=False):
            newest.append(part[max(len(part) - size, 0) :])
            beyond.append(part[: max(len(part) - size, 0)])
        return newest, [*self._overflow, *chain.from_iterable(reversed(beyond))]

    def _keep(self, rows: int) -> np.ndarray:
        newest, others = self._split(rows)
        kept = list(chain.from_iterable(newest))
        return np.array(kept + others[len(others) + len(kept) - rows :], np.int64)

    def _moved(self, kept: np.ndarray) -> None:
        place = {slot: i for i, slot in enumerate(kept.tolist())}
        newest, others = self._split(self._capacity)
        levels = len(sizes_of(self._capacity, self._num_buffers))
        reach = [min(self._reach[slot], levels) for slot in place]
        self._reach = array("i", reach + [0] * (self._capacity - len(reach)))
        parts = [[place[slot] for slot in part] for part in newest]
        self._arrange(parts, [place[slot] for slot in others if slot in place])

    def _counters(self) -> dict[str, Any]:
        parts = self._cascade()
        order = [*chain.from_iterable(parts), *self._overflow]
        return super()._counters() | {
            "sub_buffers": [len(part) for part in parts],
            "order": np.array(order, np.int64),
            "reach": np.array(self._reach[: len(self)], np.int64),
        }

    def _check_counters(self, state: Mapping[str, Any]) -> int:
        rows, sizes = super()._check_counters(state), np.subtract(self._ends, self._firsts)
        for name in ("order", "reach"):
            check_array(state, name, (rows,), np.dtype(np.int64))
        if not np.array_equal(np.sort(state["order"]), np.arange(rows)):
            raise ValueError(f"state 'order': expected each slot from 0 to {rows - 1} once")
        if rows and not 1 <= state["reach"].min() <= state["reach"].max() <= len(sizes):
            raise ValueError(f"state 'reach': expected 1 to {len(sizes)} sub-buffers")
        held = state["sub_buffers"]
        fits = isinstance(held, list) and len(held) == len(sizes) and sum(held) <= rows
        if not fits or any(not 0 <= n <= size for n, size in zip(held, sizes, strict=True)):
            raise ValueError(f"state has sub_buffers {held!r}, expected at most {sizes.tolist()}")
        return rows

    def _load_counters(self, state: Mapping[str, Any]) -> None:
        super()._load_counters(state)
        order, ends = state["order"].tolist(), np.cumsum(state["sub_buffers"]).tolist()
        parts = [order[a:b] for a, b in zip([0, *ends], ends, strict=False)]
        self._arrange(parts, order[ends[-1] :])
        self._reach[: len(order)] = array("i", state["reach"].tolist())


def sizes_of(capacity: int, num_buffers: int) -> list[int]:
    """Rows that each of the sub-buffers can hold, at least 1."""
    number = min(num_buffers, capacity)
    return [(capacity + number - 1 - i) // number for i in range(number)]
