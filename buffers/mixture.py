"""Several buffers behind one interface, each with a share of every sample."""

from collections.abc import Iterator, Mapping
from typing import Any, Union

import numpy as np
from numpy.typing import ArrayLike

from buffers import saved
from buffers.buffer import Buffer
from buffers.checks import checked_columns, checked_errors, checked_index
from buffers.columns import Column, Sample, bounded
from buffers.deal import Deal, Dealer
from buffers.intake import Intake
from buffers.layout import Batch, Layout
from buffers.nested import flat, nested
from buffers.packed import copied
from buffers.places import NONE, nowhere
from buffers.rows import Rows, as_rows
from buffers.views import contents

Part = Union[Buffer, "MixtureBuffer"]


class MixtureBuffer:
    """Offers every row to all its parts, and draws from each its share.

    A part from which nothing can be drawn leaves its share to the others, in proportion. The parts'
    rows are interleaved so that every minibatch of a sample has the same shares. Where a share is
    no whole number of rows, some samples have one row more of that part than others, so that the
    shares hold over many. A row's index is `slot * number of parts + part`. A row that two parts
    hold is two rows.

    Args:
        parts: name -> buffer; all with the same columns.
        shares: of a sample, for each part, 0 or more, not all 0.

    Raises:
        ValueError: no parts, unlike columns, or unusable shares.
    """

    columns: dict[str, Column]

    def __init__(self, parts: Mapping[str, Part], shares: Mapping[str, float]) -> None:
        values = [shares.get(name, -1.0) for name in parts]
        usable = all(0 <= value < np.inf for value in values) and sum(values) > 0
        if shares.keys() != parts.keys() or not usable:
            raise ValueError(f"shares {dict(shares)}: give each of {[*parts]} 0 or more, not all 0")
        self.parts = dict(parts)
        self.columns = next(iter(parts.values())).columns
        for name, part in parts.items():
            if part.columns != self.columns:
                raise ValueError(f"part {name!r} has other columns than the first one")
        self._parts = list(parts.values())
        self._shares = np.array(values, np.float64) / sum(values)
        self._seen = 0
        self._layout = Layout(self.columns)
        self._intake = Intake(self._layout)
        self._in_files: bool = any(part._in_files for part in self._parts)
        self._count = np.array(len(parts))  # NumPy multiplies by an array in half the time
        self._dealer = Dealer(self._layout, self._shares)

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    @property
    def capacity(self) -> int:
        """Rows that all parts can hold."""
        return sum(part.capacity for part in self._parts)

    @property
    def drawable(self) -> int:
        """Rows that `sample` draws from."""
        shares = zip(self._parts, self._shares, strict=True)
        return sum(part.drawable for part, share in shares if share) or sum(
            part.drawable for part in self._parts
        )

    @property
    def _nothing_to_draw(self) -> str:
        return "; ".join(dict.fromkeys(part._nothing_to_draw for part in self._parts))

    @property
    def needs_feedback(self) -> bool:
        """Whether a part needs it, or this is a kind that overrides `feedback`."""
        own = type(self).feedback is not MixtureBuffer.feedback
        return own or any(part.needs_feedback for part in self._parts)

    @property
    def seen(self) -> int:
        """Rows ever offered to `add`."""
        return self._seen

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays of all parts."""
        return sum(part.nbytes for part in self._parts)

    def add(self, rows: Mapping[str, Any]) -> np.ndarray:
        """Offer a batch of rows to every part; see `Buffer.add`.

        Returns:
            Where each row is stored in the first part that keeps it, -1 where none does.
        """
        checked = self._intake.checked(rows)
        if self._in_files:
            self._reserve(checked)
        return self._insert(checked)

    def _reserve(self, rows: Rows) -> None:
        for part in self._parts:
            part._reserve(rows)

    def _insert(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        rows = as_rows(self.columns, rows)
        index = nowhere(rows.n)
        for number in reversed(range(len(self._parts))):
            slots = self._parts[number]._insert(rows)
            np.copyto(index, slots * self._count + number, where=slots > NONE)
        self._seen += rows.n
        return index

    def sample(self, n: int, out: Mapping[str, Any] | None = None) -> Sample:
        """Draw `n` rows, each part's share of them; arguments and errors as of `Buffer.sample`."""
        return bounded(self._sample(n, out)) if self._corrects() else self._sample(n, out)

    def _corrects(self) -> bool:
        return any(part._corrects() for part in self._parts)

    def _sample(self, n: int, out: Mapping[str, np.ndarray] | None = None) -> Sample:
        dealt = self._deal(n)
        if len(dealt.hands) == 1:
            return self._sample_of(dealt.hands[0][0], n, out)
        for number, rows, hand in dealt.hands:
            hand.keep(self._parts[number]._sample(rows, hand))
        fits = isinstance(out, Batch) and out.fits(self._layout, n)
        whole = out if isinstance(out, Batch) and fits else self.batch(n)
        sample = dealt.collect(whole, self._count)
        if out is None or fits:
            return sample
        data = copied(whole.columns(), flat(out))
        return sample._replace(data=nested(data) if self._layout.nested else data)

    def _sample_of(self, number: int, n: int, out: Mapping[str, np.ndarray] | None) -> Sample:
        """Draw all rows from one part."""
        own = self._parts[number]._sample(n, out)
        kept = isinstance(out, Batch) and own is out.kept
        index = np.multiply(own.index, self._count, out=own.index if kept else None)
        if number:
            index += number
        return own if kept else own._replace(index=index)

    def batch(self, n: int) -> Batch:
        """Return arrays, by column name, for `sample` to write `n` rows into again and again."""
        return self._layout.batch(n)

    def _deal(self, n: int) -> Deal:
        """Deal `n` rows to the parts that can be drawn from."""
        can = tuple(part.drawable > 0 for part in self._parts)
        if not any(can):
            raise ValueError(self._nothing_to_draw)
        return self._dealer.deal(n, can)

    def feedback(self, index: np.ndarray, td_error: np.ndarray) -> None:
        """Tell each part how wrong the learner was on its rows at `index`, if one needs to know.

        Raises:
            ValueError: as of `Prioritized.feedback`; no part is told anything then.
        """
        if not any(part.needs_feedback for part in self._parts):
            return
        index, td_error = checked_errors(index, td_error)
        for part, rows, slots in self._by_part(index):
            part.feedback(slots, td_error[rows])

    def end_task(self) -> None:
        """Take note that the current task ends here."""
        for part in self._parts:
            part.end_task()

    def idle(self) -> str | None:
        """Say so if no part had a choice to make yet."""
        notes = {name: part.idle() for name, part in self.parts.items()}
        if None in notes.values():
            return None
        return "; ".join(f"{name}: {note}" for name, note in notes.items())

    def clear(self) -> None:
        """Drop all rows of all parts. `seen` and the random streams go on."""
        for part in self._parts:
            part.clear()

    def rows(self, task: int | None = None) -> np.ndarray:
        """Index of every stored row, or of those of one task, part by part."""
        return np.concatenate(
            [part.rows(task) * len(self._parts) + k for k, part in enumerate(self._parts)]
        )

    def waiting(self, column: str) -> np.ndarray:
        """Copy a column of the rows that the parts may yet store; some, perhaps, twice."""
        return np.concatenate([part.waiting(column) for part in self._parts])

    def ages(self) -> np.ndarray:
        """Rows offered since each stored row, in the order of `rows()`; the newest has age 0."""
        return np.concatenate([part.ages() for part in self._parts])

    def read(self, index: ArrayLike) -> dict[str, Any]:
        """Copy the rows at `index` [n], whole numbers. Raises ValueError where none is stored."""
        slots = self._checked_index(index)
        data = self.batch(len(slots)).columns()
        for part, rows, own in self._by_part(slots):
            for name, values in flat(part.read(own)).items():
                data[name][rows] = values
        return nested(data)

    def write(self, index: ArrayLike, **columns: ArrayLike | Mapping[str, Any]) -> None:
        """Overwrite the given columns of the rows at `index`; see `StoredRows.write`."""
        slots = self._checked_index(index)
        values = checked_columns(self.columns, flat(columns), len(slots))
        for part, rows, own in self._by_part(slots):
            part.write(own, **{name: v[rows] for name, v in values.items()})

    def _checked_index(self, index: ArrayLike) -> np.ndarray:
        slots = checked_index(index).reshape(-1)
        self._check_index(slots)
        return slots

    def _check_index(self, slots: np.ndarray) -> None:
        for part, _, own in self._by_part(slots):
            part._check_index(own)

    def _by_part(self, index: np.ndarray) -> Iterator[tuple[Part, np.ndarray, np.ndarray]]:
        """Each part that some rows belong to: it, which rows, and their indices there."""
        slots, numbers = np.divmod(index, len(self._parts))
        for number, part in enumerate(self._parts):
            rows = np.flatnonzero(numbers == number)
            if len(rows):
                yield part, rows, slots[rows]

    def describe(self) -> dict[str, Any]:
        """Say what is held, in all and by part, as JSON can hold it."""
        return {
            "kind": type(self).__name__,
            "rows": len(self),
            "capacity": self.capacity,
            "seen": self.seen,
            "bytes": self.nbytes,
            **contents(self._tasks(), self.ages()),
            "parts": {name: part.describe() for name, part in self.parts.items()},
        }

    def _tasks(self) -> np.ndarray:
        """Task of each stored row, in the order of `rows()`."""
        return np.concatenate([part._tasks() for part in self._parts])

    def state_dict(self) -> dict[str, Any]:
        """Copy all that the future of the buffer depends on, as a flat dict."""
        states = [saved.prefixed(name, part.state_dict()) for name, part in self.parts.items()]
        behind = np.array(self._dealer.behind)
        own = {"kind": type(self).__name__, "seen": self.seen, "behind": behind}
        return {key: value for state in (own, *states) for key, value in state.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become the saved buffer; see `StoredRows.load_state_dict`."""
        self._check_state(state)
        self._load_state(state)

    def _check_state(self, state: Mapping[str, Any]) -> None:
        saved.check_settings(state, {"kind": type(self).__name__})
        own = self._with_behind(state)
        saved.check_keys([key for key in own if "." not in key], ["kind", "seen", "behind"])
        saved.check_counters(own, "seen")
        saved.check_array(own, "behind", self._shares.shape, self._shares.dtype)
        if not np.isfinite(own["behind"]).all():
            raise ValueError(f"state 'behind': expected finite numbers, given {own['behind']}")
        for name, part in saved.unprefixed(state, self.parts).items():
            self.parts[name]._check_state(part)

    def _load_state(self, state: Mapping[str, Any]) -> None:
        self._seen = state["seen"]
        self._dealer.behind = self._with_behind(state)["behind"].tolist()
        for name, part in saved.unprefixed(state, self.parts).items():
            self.parts[name]._load_state(part)

    def _with_behind(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The state with what the parts are owed: nothing, in one of earlier versions."""
        return {"behind": np.zeros(len(self._parts)), **state}
