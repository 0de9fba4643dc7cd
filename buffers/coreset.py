"""Coresets: rows that stand for the whole stream, chosen a stretch at a time."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Unpack

import numpy as np
from numpy.typing import ArrayLike

from buffers import state as saved
from buffers.buffer import Buffer, Common
from buffers.selection import SELECTIONS, represented
from buffers.selection.features import Features, Source

# What is known of each row, and what holds of one that was not chosen yet. The error that nobody
# has reported yet counts as 1: its gradient then points where the features do.
RECORD = {"gain": np.float32(0), "weight": 1.0, "since": np.int64(-1), "error": np.float32(1)}


class Reason(NamedTuple):
    """Why a row is in a coreset.

    Attributes:
        rule: the selection that chose it, or "new" while it waits for its first one.
        gain: what it was worth to the rule when that last chose; see the rule's function.
        weight: rows offered that it stands for, itself included.
        since: rows that the buffer had been offered when it was first chosen.
    """

    rule: str
    gain: float | None
    weight: float
    since: int | None


class CoresetBuffer(Buffer):
    """Keeps the rows that a selection rule chooses from those it has and those that came since.

    Rows are taken in until all slots are in use. The next row makes the rule choose: a share
    `staging` of the rows is given up, and new ones come into their slots until these are full
    again (merge and reduce). All rows held can be drawn, uniformly, also those that are new. A row
    keeps its slot for as long as it is held.

    A choice among C rows comes every C * staging rows, so that a row costs 1 / staging rows' part of
    it on average; `buffers.selection` says what a choice costs. More staging is faster and forgets
    more of what was chosen.

    Every row that is given up adds its weight to the nearest that stays; the weights of all rows
    always add up to the rows offered.

    Args:
        capacity: rows it can hold, new ones included.
        selection: a key of `buffers.selection.SELECTIONS`.
        staging: share of the capacity that is given up at every choice, above 0 and below 1; one
            row at least.
        weighted: whether a sample's weights are the rows' own, divided by their mean over all
            rows held; otherwise, and by default but with "facility", they are all 1.
        features: what rows are compared by: a column's name, or a function of rows to [n, d];
            otherwise states and actions, normalised. See `buffers.selection.features.Features`.
            An error raised by the function ends `add` at that row.
        common: `state, action, extra, seed`, as of `Buffer`.

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
        weighted: bool | None = None,
        features: Source = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(capacity, **common)
        self.selection = selection or self._default
        if self.selection not in SELECTIONS:
            raise ValueError(f"selection {selection!r} is unknown; choose of {[*SELECTIONS]}")
        if not 0 < staging < 1:
            raise ValueError(f"staging {staging}: choose a share of the rows above 0 and below 1")
        self._rule = SELECTIONS[self.selection]
        self._wants = inspect.signature(self._rule).parameters
        self._staging = staging
        self._weighted = self.selection == "facility" if weighted is None else weighted
        self._features = Features(self.columns, features)
        self._record = {name: np.full(capacity, value) for name, value in RECORD.items()}
        self._forget()

    def __len__(self) -> int:
        return self._filled

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, filled or not."""
        own = (self._order, self._place, *self._record.values())
        return super().nbytes + sum(values.nbytes for values in own)

    def reasons(self, index: ArrayLike) -> list[Reason]:
        """Say why each of the rows at `index` [n] is held. Raises ValueError where none is."""
        slots = self._checked_index(index)
        chosen = self._place[slots] < self._chosen
        gain, weight, since = (self._record[k][slots].tolist() for k in ("gain", "weight", "since"))
        return [
            Reason(self.selection, *reason) if old else Reason("new", None, reason[1], None)
            for old, *reason in zip(chosen.tolist(), gain, weight, since, strict=True)
        ]

    def describe(self) -> dict[str, Any]:
        """Say what is held and why: as of `StoredRows.describe`, and the reasons in aggregate."""
        chosen = self._order[: self._chosen]
        about = {
            "selection": self.selection,
            "chosen": self._chosen,
            "new": self._filled - self._chosen,
        }
        for name in ("gain", "weight"):
            about[name] = _spread(self._record[name][chosen])
        return super().describe() | about

    def feedback(self, index: np.ndarray, td_error: np.ndarray) -> None:
        """Tell how wrong the learner was on the rows at `index`; only "gss" asks for it.

        Raises:
            ValueError: an error is not finite. The buffer then stays as it was.
        """
        if "error" not in self._wants:
            return
        if not np.isfinite(td_error).all():
            raise ValueError("td_error: expected finite numbers, given NaN or infinity")
        held = self._stored(index)
        self._record["error"][index[held]] = td_error[held]

    def clear(self) -> None:
        """Drop all rows and what is known of the stream. `seen` and the random stream go on."""
        super().clear()
        self._forget()

    def _forget(self) -> None:
        self._features.clear()
        # First the slots of chosen rows, then those of new ones, then free ones in ascending order.
        self._order = np.arange(self._capacity)
        self._place = np.arange(self._capacity)  # of each slot in that order
        self._chosen = self._filled = 0

    def _stored(self, slots: np.ndarray) -> np.ndarray:
        inside = (slots >= 0) & (slots < self._capacity)
        stored: np.ndarray = inside & (self._place[np.where(inside, slots, 0)] < self._filled)
        return stored

    def _draw(self, n: int) -> np.ndarray:
        return self._order[super()._draw(n)]

    def _weigh(self, slots: np.ndarray) -> np.ndarray:
        if not self._weighted:
            return super()._weigh(slots)
        mean = self._record["weight"][self._order[: self._filled]].mean()
        return (self._record["weight"][slots] / mean).astype(np.float32)

    def _insert(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        self._features.check(rows)
        n, first, done, given_up = len(rows["task"]), self.seen, 0, False
        slots = np.empty(n, np.int64)
        while done < n:
            if self._filled == self._capacity:
                self._reduce(self._capacity - max(1, int(self._capacity * self._staging)))
                given_up = done > 0  # rows of this very batch could be
            end = min(n, done + self._capacity - self._filled)
            some = rows if end - done == n else {name: v[done:end] for name, v in rows.items()}
            slots[done:end] = super()._insert(some)
            done = end
        if given_up:
            lasting = self._stored(slots) & (self._storage.born[slots] == first + np.arange(n))
            slots[~lasting] = -1
        return slots

    def _admit(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        end = self._filled + len(rows["task"])
        slots = self._order[self._filled : end].copy()
        for name, value in RECORD.items():
            self._record[name][slots] = value
        self._filled = end
        return slots

    def _reduce(self, rows: int) -> None:
        """Keep `rows` of the rows held, by the rule, and free the slots of all others."""
        held, new = self._order[: self._filled], self._order[self._chosen : self._filled]
        self._features.observe(self._columns_of(new, self._features.needs))
        points = self._features.of(self._columns_of(held, self._features.needs))
        gain, weight = np.zeros(rows, np.float32), self._record["weight"][held]
        offered = {"weight": weight, "error": self._record["error"][held], "rng": self._rng}
        if self._features.choice:
            offered["action"] = self._columns_of(held, ["action"])["action"]
        given = {name: value for name, value in offered.items() if name in self._wants}
        index = self._rule(points, rows, gain=gain, **given)
        chosen = held[index]
        if rows:
            self._record["weight"][chosen] = represented(points, index, weight)
        self._record["gain"][chosen] = gain
        fresh = chosen[self._record["since"][chosen] < 0]
        self._record["since"][fresh] = self._added
        self._settle(chosen)

    def _settle(self, chosen: np.ndarray) -> None:
        """Take note that exactly the rows in these slots are held, and chosen."""
        free = np.ones(self._capacity, bool)
        free[chosen] = False
        self._order = np.concatenate([chosen, np.flatnonzero(free)])
        self._place[self._order] = np.arange(self._capacity)
        self._chosen = self._filled = len(chosen)

    def _columns_of(self, slots: np.ndarray, names: Iterable[str]) -> dict[str, np.ndarray]:
        columns = {name: self.columns[name] for name in names}
        out = {name: np.empty((len(slots), *c.shape), c.dtype) for name, c in columns.items()}
        return self._take(slots, out)

    def _keep(self, rows: int) -> np.ndarray:
        if rows < self._filled:
            self._reduce(rows)
        return self._order[: self._filled]

    def _moved(self, kept: np.ndarray) -> None:
        free = self._capacity - len(kept)
        for name, value in RECORD.items():
            self._record[name] = np.append(self._record[name][kept], np.full(free, value))
        self._order, self._place = np.arange(self._capacity), np.arange(self._capacity)

    def _counters(self) -> dict[str, Any]:
        held = self._order[: self._filled].copy()
        return {
            **super()._counters(),
            "selection": self.selection,
            "staging": self._staging,
            "weighted": self._weighted,
            "chosen": self._chosen,
            "order": held,
            **{name: values[held] for name, values in self._record.items()},
            **self._features.save(),
        }

    def _check_counters(self, state: Mapping[str, Any]) -> int:
        names = ("selection", "staging", "weighted")
        own = self._counters()
        saved.check_settings(state, {name: own[name] for name in names})
        saved.check_counters(state, "chosen")
        most, order = super()._check_counters(state), state["order"]
        rows = len(order) if isinstance(order, np.ndarray) else 0
        saved.check_array(state, "order", (rows,), self._order.dtype)
        inside = (order >= 0) & (order < self._capacity)
        if (
            not inside.all()
            or len(set(order.tolist())) < rows
            or not state["chosen"] <= rows <= most
        ):
            raise ValueError(f"state has no sound order of its {rows} rows")
        for name, values in self._record.items():
            saved.check_array(state, name, (rows,), values.dtype)
        self._features.check_state(state)
        return rows

    def _load_counters(self, state: Mapping[str, Any]) -> None:
        super()._load_counters(state)
        order = state["order"]
        self._settle(order)
        self._chosen = state["chosen"]
        for name, values in self._record.items():
            values[order] = state[name]
        self._features.load(state)


class HerdingBuffer(CoresetBuffer):
    """A coreset whose mean is that of the stream; see `buffers.selection.herding`."""

    _default = "herding"


class CoverageBuffer(CoresetBuffer):
    """A coreset of rows with few neighbours; see `buffers.selection.max_coverage`."""

    _default = "coverage"


class GradientBuffer(CoresetBuffer):
    """A coreset of rows with unlike gradients; see `buffers.selection.gss_greedy`."""

    _default = "gss"


class FacilityBuffer(CoresetBuffer):
    """A weighted coreset of rows near to all; see `buffers.selection.facility_location`."""

    _default = "facility"


def _spread(values: np.ndarray) -> dict[str, float]:
    """The least, the median and the greatest; 0 where there are none."""
    some = values if len(values) else np.zeros(1)
    return {"min": float(some.min()), "median": float(np.median(some)), "max": float(some.max())}
