"""Coresets: rows that stand for the whole stream, chosen a stretch at a time."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from buffers import saved
from buffers.buffer import Buffer, Common
from buffers.checks import checked_errors
from buffers.coreset.features import Features, Source
from buffers.coreset.reasons import NEW, Reason, Reasons
from buffers.coreset.slots import CoresetSlots
from buffers.names import check_known
from buffers.places import nowhere
from buffers.rows import Rows, as_rows
from buffers.selection import SELECTIONS, represented


class CoresetBuffer(Buffer):
    """Keeps the rows that a selection rule chooses from those it has and those that came since.

    Rows are taken in until all slots are in use. The next row makes the rule choose: a share
    `staging` of the rows is given up, and new ones come into their slots until these are full
    again (merge and reduce). All rows held can be drawn, uniformly, also those that are new. A row
    keeps its slot for as long as it is held.

    A choice among C rows comes every C * staging candidates; `buffers.selection` says what one
    costs. More staging is faster and leaves less room for what was chosen. So is looking at each
    `every`-th row only, which loses little where a row is a near copy of the one before.

    Every row that is given up adds its weight to the nearest that stays, so that the weights of
    all rows add up to the candidates so far (unless capacity is 1: then nothing can stay).

    Args:
        capacity: rows it can hold, new ones included.
        selection: a key of `buffers.selection.SELECTIONS`; by default that of the class.
        staging: share of the capacity that is given up at every choice, above 0 and below 1; one
            row at least.
        every: one of so many rows in turn is a candidate; the others are dropped at once.
        weighted: whether a sample's weights are the rows' own, divided by their mean over all
            rows held; otherwise, and by default but with "facility", they are all 1.
        features: what rows are compared by: a column's name, or a function of rows to [n, d];
            otherwise states and actions, normalised. See `Features`. An error that the function
            raises ends `add` before the row that made the choice due.
        common: `state, action, extra, seed, storage, path`; see `Buffer`.

    Raises:
        ValueError: no such selection, an unusable share, or no such column.
    """

    _default = "k_center"

    def __init__(
        self,
        capacity: int,
        *,
        selection: str | None = None,
        staging: float = 0.25,
        every: int = 1,
        weighted: bool | None = None,
        features: Source = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(capacity, **common)
        self.selection = selection or self._default
        check_known("selection", self.selection, SELECTIONS)
        if not 0 < staging < 1:
            raise ValueError(f"staging {staging}: choose a share of the rows above 0 and below 1")
        if every < 1:
            raise ValueError(f"every {every}: choose 1 for each row, or more")
        self._rule = SELECTIONS[self.selection]
        self._wants = frozenset(inspect.signature(self._rule).parameters)
        self._staging, self._every = staging, every
        self._weighted = self.selection == "facility" if weighted is None else weighted
        self._features = Features(self.columns, features)
        self._slots = CoresetSlots(capacity)
        self._reasons = Reasons(capacity)
        self._alone = self._as_in(CoresetBuffer, "_admit", "_put", "_room")

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, filled or not."""
        return super().nbytes + self._slots.nbytes + self._reasons.nbytes

    def reasons(self, index: ArrayLike) -> list[Reason]:
        """Say why each of the rows at `index` [n] is held. Raises ValueError where none is."""
        return self._reasons.of(self._checked_index(index), self.selection)

    def _known(self) -> dict[str, Any]:
        """The reasons in aggregate."""
        about = {
            "selection": self.selection,
            "chosen": len(self._slots.chosen),
            "new": len(self._slots.new),
        }
        return about | self._reasons.describe(self._slots.chosen)

    @property
    def needs_feedback(self) -> bool:
        """Whether the rule asks for errors; only "gss" does, and kinds that override `feedback`."""
        return "error" in self._wants or not self._as_in(CoresetBuffer, "feedback")

    def feedback(self, index: np.ndarray, td_error: np.ndarray) -> None:
        """Tell how wrong the learner was on the rows at `index`; only "gss" asks for it.

        Raises:
            ValueError: an error is missing or not finite. The buffer then stays as it was.
        """
        if "error" not in self._wants:
            return
        slots, error = checked_errors(index, td_error)
        held = self._stored(slots)
        self._reasons["error"][slots[held]] = error[held]

    def clear(self) -> None:
        """Drop all rows and what is known of the stream. `seen` and the random stream go on."""
        super().clear()
        self._slots.clear(self._capacity)
        self._reasons.reset(self._slots.unused)
        self._features.clear()

    def idle(self) -> str | None:
        """Say so if the buffer had no choice to make yet, or lacks the errors that it asks for."""
        note = super().idle() if self._every == 1 else None
        if note or "error" not in self._wants or not len(self):
            return note
        told = (self._reasons["error"][self._slots.held] != NEW["error"]).any()
        return None if told else "no TD error was told of the rows held: all count as 1"

    def _stored(self, slots: np.ndarray) -> np.ndarray:
        return self._slots.holds(slots)

    def _draw(self, n: int) -> np.ndarray:
        return self._slots.held[super()._draw(n)]

    def _weigh(self, slots: np.ndarray) -> np.ndarray:
        if not self._weighted:
            return super()._weigh(slots)
        weight = self._reasons["weight"]
        return (weight[slots] / weight[self._slots.held].mean()).astype(np.float32)

    def _insert(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        rows = as_rows(self.columns, rows)
        self._features.check(rows)
        if rows.n == 1 and self._alone:
            return self._insert_alone(rows)
        first, done, given_up = self.seen, 0, False
        slots = np.empty(rows.n, np.int64)
        while done < rows.n:
            if not self._room():
                self._give_up()
                given_up = done > 0  # rows of this very batch may have been
            end = min(rows.n, done + self._room())
            some = rows if end - done == rows.n else rows.some(slice(done, end))
            slots[done:end] = super()._insert(some)
            done = end
        if given_up:
            lasting = self._stored(slots) & (self._storage.born[slots] == first + np.arange(rows.n))
            slots[~lasting] = -1
        return slots

    def _insert_alone(self, rows: Rows) -> np.ndarray:
        """Store the one row there is, if it is a candidate."""
        if self._added % self._every:
            return self._insert_one(-1, rows)
        if not self._slots.free:
            self._give_up()
        slots = self._insert_one(self._slots.next_one(), rows)
        self._slots.use(1)
        return slots

    def _room(self) -> int:
        """Rows that can come until a candidate finds no slot."""
        return -self._added % self._every + self._slots.free * self._every

    def _admit(self, rows: Rows) -> np.ndarray:
        slots = nowhere(rows.n)
        candidates = slots[-self._added % self._every :: self._every]
        candidates[:] = self._slots.next(len(candidates))
        return slots

    def _put(self, slots: np.ndarray, rows: Rows) -> np.ndarray:
        slots = super()._put(slots, rows)  # if that fails, no slot is in use
        self._slots.use(int(np.count_nonzero(slots >= 0)))
        return slots

    def _give_up(self) -> None:
        """Make room, as all slots are in use."""
        self._reduce(self._capacity - max(1, int(self._capacity * self._staging)))

    def _reduce(self, rows: int) -> None:
        """Keep `rows` of the rows held, by the rule, and free the slots of all others."""
        held = self._slots.held
        self._features.observe(self._columns_of(self._slots.new, self._features.needs))
        points = self._features.of(self._columns_of(held, self._features.needs))
        gain, weight = np.empty(rows, np.float32), self._reasons["weight"][held]
        index = self._rule(points, rows, gain=gain, **self._asked_for(held))
        weight = represented(points, index, weight) if rows else np.empty(0)
        self._reasons.choose(held[index], gain, weight, self._added)
        self._slots.settle(held[index], rows)
        self._reasons.reset(self._slots.unused)

    def _asked_for(self, held: np.ndarray) -> dict[str, Any]:
        """What the rule wants to know beside features."""
        known = {
            "weight": self._reasons["weight"][held],
            "error": self._reasons["error"][held],
            "rng": self._rng,
        }
        if self._features.choice:
            known["action"] = self._columns_of(held, ["action"])["action"]
        return {name: value for name, value in known.items() if name in self._wants}

    def _columns_of(self, slots: np.ndarray, names: Iterable[str]) -> dict[str, np.ndarray]:
        columns = {name: self.columns[name] for name in names}
        out = {name: np.empty((len(slots), *c.shape), c.dtype) for name, c in columns.items()}
        return self._storage.take(slots, out)

    def _keep(self, rows: int) -> np.ndarray:
        if rows < len(self):
            self._reduce(rows)
        return self._slots.held

    def _moved(self, kept: np.ndarray) -> None:
        self._slots.compact(self._capacity)
        self._reasons.move(kept, self._capacity)

    def _settings(self) -> dict[str, Any]:
        return {
            "selection": self.selection,
            "staging": self._staging,
            "every": self._every,
            "weighted": self._weighted,
        }

    def _counters(self) -> dict[str, Any]:
        return {
            **super()._counters(),
            **self._settings(),
            **self._slots.save(),
            **self._reasons.save(self._slots.held),
            **self._features.save(),
        }

    def _check_counters(self, state: Mapping[str, Any]) -> int:
        saved.check_settings(state, self._settings())
        rows = self._slots.check(state, super()._check_counters(state))
        self._reasons.check(state, rows)
        self._features.check_state(state)
        return rows

    def _load_counters(self, state: Mapping[str, Any]) -> None:
        super()._load_counters(state)
        self._slots.load(state)
        self._reasons.reset(self._slots.unused)
        self._reasons.load(self._slots.held, state)
        self._features.load(state)
