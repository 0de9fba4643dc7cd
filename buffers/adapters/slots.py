"""A memory of rows whose data lie in the slots of somebody else's storage."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from buffers import saved
from buffers.columns import Column, Memory
from buffers.intake import Intake
from buffers.layout import Layout
from buffers.places import last_writes
from buffers.rows import Rows

NOTHING = Column((0,))  # of a state or an action that the memory's rule does not look at
SLOT = {"slot": Column((), np.int64)}


class SlotMap:
    """Gives the rows that a memory keeps slots of a storage, in the memory's column `slot`.

    Memories move rows, and hold some twice, so a row's index in the memory is no slot. A row goes
    to a slot that no row of the memory refers to. When none is left, those of rows that the memory
    has given up are collected, which looks at the whole memory; with a tenth more slots than rows
    that is rare. A memory with a share for each task grows with the tasks: reckon with all of them.

    Args:
        memory: any memory with the column `slot`.
        size: slots of the storage.

    Raises:
        ValueError: the memory has no column `slot`, or as many rows as there are slots, or more.
    """

    def __init__(self, memory: Memory, size: int) -> None:
        if "slot" not in memory.columns:
            raise ValueError("column 'slot' is missing; make the memory with extra=SLOT")
        if size <= memory.capacity:
            raise ValueError(
                f"storage of {size} slots: expected more than the {memory.capacity} rows "
                "of the memory, better a tenth more"
            )
        self.memory = memory
        self._intake = Intake(Layout(memory.columns))
        self._free = np.zeros(size, np.int64)  # free slots, the next one last
        self._room = 0  # how many of them there are
        self._row = np.full(size, -1)  # the memory's index of the row in each slot, -1 if unknown
        self._collect()

    def __len__(self) -> int:
        return len(self._row)

    def add(
        self, rows: Mapping[str, np.ndarray], write: Callable[[np.ndarray, np.ndarray], None]
    ) -> np.ndarray:
        """Offer a batch of rows to the memory and write those it keeps into the storage.

        Args:
            rows: arrays [n, ...] by column name.
            write: write(slots, which) puts the rows `which` of the batch into these slots.

        Returns:
            The slot of each row, int64 [n]; -1 where it was dropped, a later row took its place, or
            it waits for the end of its episode.

        Raises:
            ValueError: as of `Buffer.add`; or the memory has grown beyond the storage, in which
                case the rows before that one are kept.
        """
        rows = self._intake.checked(rows)
        n = rows.n
        slots = np.full(n, -1)
        done = 0
        while done < n:
            self._make_room()
            part = slice(done, done + self._room)
            own, index, kept = self._add(rows.some(part))
            if kept.any():
                write(own[kept], done + np.flatnonzero(kept))
            slots[part] = np.where(index >= 0, own, -1)
            done = part.stop
        return last_writes(slots)

    def _add(self, rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Offer rows: the slot given to each, its index in the memory, and whether it is kept."""
        n = rows.n
        slots = self._free[self._room - n : self._room][::-1].copy()
        index = self.memory.add({**rows.given, "slot": slots})
        kept = index >= 0
        self._row[slots[kept]] = index[kept]
        if len(waiting := self.memory.waiting("slot")):  # those are not dropped yet
            waits = np.zeros(len(self), bool)
            waits[waiting] = True
            kept |= waits[slots]
        self._room -= n
        self._put_back(slots[~kept])
        return slots, index, kept

    def _put_back(self, slots: np.ndarray) -> None:
        self._free[self._room : self._room + len(slots)] = slots[::-1]
        self._room += len(slots)

    def _make_room(self) -> None:
        if not self._room:
            self._collect()
        if not self._room:
            raise ValueError(
                f"storage of {len(self)} slots: all are in use by the memory, of "
                f"{self.memory.capacity} rows by now and {len(self.memory.waiting('slot'))} that "
                "wait; make the storage larger"
            )

    def _collect(self) -> None:
        used = np.zeros(len(self), bool)
        used[self.memory.read(self.memory.rows())["slot"]] = True
        used[self.memory.waiting("slot")] = True
        self._room = 0
        self._put_back(np.flatnonzero(~used))

    def sample(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw `n` rows of the memory; return their slots, int64 [n], and weights, float32 [n]."""
        drawn = self.memory.sample(n, {"slot": np.empty(n, np.int64)})
        slots = drawn.data["slot"]
        self._row[slots] = drawn.index
        return slots, drawn.weight

    def feedback(self, slots: np.ndarray, td_error: np.ndarray) -> None:
        """Tell the memory how wrong the learner was on the rows in these slots.

        A slot of -1, and one whose row the memory has given up or moved since, is left out.
        """
        known = self._row[slots] >= 0
        slots, td_error = slots[known], td_error[known]
        rows = self._row[slots]
        held = self._held(rows, slots)
        self.memory.feedback(rows[held], td_error[held])

    def _held(self, rows: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """Whether each row of the memory is still the one in its slot."""
        try:
            held: np.ndarray = self.memory.read(rows)["slot"] == slots
        except ValueError:  # some rows are no more, which only shrinking brings about
            held = np.isin(rows, self.memory.rows())
            held[held] = self.memory.read(rows[held])["slot"] == slots[held]
        return held

    def clear(self) -> None:
        """Drop all rows of the memory; all slots are free then."""
        self.memory.clear()
        self._collect()

    def state_dict(self) -> dict[str, Any]:
        """Copy the memory's state, and which slots are free, as a flat dict."""
        own = {"free": self._free[: self._room].copy(), "row": self._row.copy()}
        return own | saved.prefixed("memory", self.memory.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become what was saved.

        Raises:
            ValueError: it is of another storage or memory. All then stays as it was.
        """
        memory = {k.removeprefix("memory."): v for k, v in state.items() if k[:7] == "memory."}
        saved.check_keys(state.keys() - {f"memory.{k}" for k in memory}, ["free", "row"])
        saved.check_array(state, "row", self._row.shape, self._row.dtype)
        saved.check_array(state, "free", (len(state["free"]),), self._free.dtype)
        self.memory.load_state_dict(memory)
        self._row = state["row"].copy()
        self._room = 0
        self._put_back(state["free"][::-1])
