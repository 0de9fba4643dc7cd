"""The part of every buffer that is neither keeping nor drawing: look at its rows, save and load."""

from collections.abc import Callable, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from buffers import saved
from buffers.checks import checked_columns, checked_index
from buffers.columns import Column
from buffers.intake import Intake
from buffers.layout import Batch
from buffers.names import check_known
from buffers.nested import flat, nested
from buffers.storage import Storage
from buffers.views import contents

if TYPE_CHECKING:
    from buffers.memmap import MemmapStorage

Seed = int | np.random.SeedSequence | np.random.Generator
Kind = Literal["memory", "memmap"]


class StoredRows:
    """Rows that can be read, changed, described, saved and loaded.

    Attributes:
        columns: name -> Column; columns in dicts are named by their path, such as `state.image`.
        seen: rows ever offered to `add`; `clear` does not reset it.
    """

    def __init__(
        self,
        capacity: int,
        columns: Mapping[str, Column],
        seed: Seed = 0,
        storage: Kind = "memory",
        path: str | PathLike[str] | None = None,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity {capacity} holds nothing; choose at least 1 row")
        self.columns = dict(columns)
        self.seen = 0
        self._added = 0  # rows offered since the last clear
        self._capacity = capacity
        self._rng = np.random.default_rng(seed)
        self._storage = self._make_storage(storage, path)
        self._in_files = path is not None
        self._intake = Intake(self._storage.layout)

    def _make_storage(self, storage: Kind, path: str | PathLike[str] | None) -> Storage:
        check_known("storage", storage, get_args(Kind))
        if (storage == "memmap") != (path is not None):
            raise ValueError(f"storage {storage!r}, path {path}: memmap needs one, memory none")
        if path is None:
            return Storage(self.columns, self._capacity)
        from buffers.memmap import MemmapStorage  # needs what not every system has

        files = MemmapStorage(self.columns, self._capacity, path, type(self).__name__)
        if files.reopened:
            self._take_up(files)
        return files

    def _take_up(self, files: "MemmapStorage") -> None:
        """Go on from the last operation that the files of an earlier buffer know as complete."""
        if type(self)._counters is not type(self)._spared:
            kind = type(self).__name__
            raise ValueError(
                f"a {kind} is more than the rows in its files; "
                "use another folder and load a saved state"
            )
        self.seen, self._added = files.committed
        if self.seen:  # do not draw again what was drawn before
            self._rng = np.random.default_rng([int(self._rng.integers(2**62)), self.seen])

    def __len__(self) -> int:
        return self._added if self._added < self._capacity else self._capacity  # `min` is slower

    @property
    def capacity(self) -> int:
        """Rows it can hold."""
        return self._capacity

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, filled or not."""
        return self._storage.nbytes

    def rows(self, task: int | None = None) -> np.ndarray:
        """Index of every stored row, or of those of one task; int64, ascending."""
        if type(self)._stored is StoredRows._stored:  # no need to look at empty slots
            rows = np.arange(len(self))
        else:
            rows = np.flatnonzero(self._stored(np.arange(self.capacity)))
        return rows if task is None else rows[self._storage.data["task"][rows] == task]

    def _stored(self, slots: np.ndarray) -> np.ndarray:
        """Whether a row is in each slot, bool; slots outside the buffer hold none."""
        stored: np.ndarray = (slots >= 0) & (slots < len(self))
        return stored

    def ages(self) -> np.ndarray:
        """Rows offered since each stored row, in the order of `rows()`; the newest has age 0."""
        ages: np.ndarray = self.seen - 1 - self._storage.born[self.rows()].astype(np.int64)
        return ages

    def read(self, index: ArrayLike) -> dict[str, Any]:
        """Copy the rows at `index` [n], whole numbers. Raises ValueError where none is stored."""
        return self._take(self._checked_index(index))

    def _take(self, slots: np.ndarray, out: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Copy the rows in these slots, into the arrays of `out` if given."""
        if not self._storage.layout.nested:
            return self._storage.take(slots, out)
        own = out if out is None or isinstance(out, Batch) else flat(out)
        return nested(self._storage.take(slots, own))

    def write(self, index: ArrayLike, **columns: ArrayLike | Mapping[str, Any]) -> None:
        """Overwrite the given columns [n, *shape] of the rows at `index` [n]; repeats: last wins.

        Raises:
            ValueError: no row is stored there, or the values are such as `add` refuses; or the
                column is `task`, which decides what is kept. The buffer then stays as it was.
        """
        slots = self._checked_index(index)
        self._storage.overwrite(slots, checked_columns(self.columns, flat(columns), len(slots)))
        self._commit()

    def _commit(self) -> None:
        """Let what was done so far last, where rows outlive the process."""
        self._storage.commit(self.seen, self._added)

    def _checked_index(self, index: ArrayLike) -> np.ndarray:
        slots = checked_index(index).reshape(-1)
        self._check_index(slots)
        return slots

    def _check_index(self, slots: np.ndarray) -> None:
        if not (stored := self._stored(slots)).all():
            stray = slots[~stored][0]
            raise ValueError(f"no row is stored at {stray}; take indices from rows() or a sample")

    def describe(self) -> dict[str, Any]:
        """Say what is held, as JSON can hold it: rows, bytes, share per task, ages in rows.

        Where columns have frames, also how many the rows refer to, how many distinct ones these
        are, the bytes they take, and the bytes saved by storing each once. Last what the rule of
        the buffer knows, such as `score`.
        """
        return {
            "kind": type(self).__name__,
            "rows": len(self),
            "capacity": self.capacity,
            "seen": self.seen,
            "bytes": self.nbytes,
            **contents(self._tasks(), self.ages()),
            **self._storage.describe(self.rows()),
            **self._known(),
        }

    def _known(self) -> dict[str, Any]:
        """What the rule of the buffer knows of its rows, as JSON can hold it."""
        return {}

    def _tasks(self) -> np.ndarray:
        """Task of each stored row, in the order of `rows()`."""
        return self._storage.data["task"][self.rows()]

    def state_dict(self) -> dict[str, Any]:
        """Copy the filled rows and all that the future of the buffer depends on, as a flat dict."""
        return {
            "kind": type(self).__name__,
            "capacity": self._capacity,
            "seen": self.seen,
            "rng": saved.save_generator(self._rng),
            **self._counters(),
            **self._storage.save(self.rows()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become the saved buffer, whose every later `add` and `sample` does the same as there.

        Settings that change nothing about the rows, such as `alpha`, are not part of the state:
        make the buffer with the same arguments.

        Raises:
            ValueError: the state is of another kind, capacity or set of columns, or broken. The
                buffer then stays as it was.
        """
        self._check_state(state)
        self._load_state(state)

    def _counters(self) -> dict[str, Any]:
        """Whatever `_admit` and `_draw` remember, as JSON can hold it."""
        return {"added": self._added}

    # The `_counters` that a buffer reopened from files can do without, but for `added`.
    _spared: ClassVar[Callable[..., dict[str, Any]]] = _counters

    def _check_counters(self, state: Mapping[str, Any]) -> int:
        """Raise ValueError unless the counters are sound; return the rows they speak of."""
        saved.check_counters(state, "added")
        return min(int(state["added"]), self._capacity)

    def _load_counters(self, state: Mapping[str, Any]) -> None:
        self._added = state["added"]

    def _check_state(self, state: Mapping[str, Any]) -> None:
        own = {"kind": type(self).__name__, "capacity": self._capacity}
        saved.check_settings(state, own)
        names = [*own, "seen", "rng", *self._counters(), *self._storage.keys()]
        saved.check_keys(state, names)
        saved.check_counters(state, "seen")
        saved.check_generator(self._rng, state["rng"])
        self._storage.check(state, self._check_counters(state))

    def _load_state(self, state: Mapping[str, Any]) -> None:
        self._load_counters(state)
        self._storage.count_to(state["seen"])
        self._storage.load(self.rows(), state)
        self.seen = state["seen"]
        self._rng.bit_generator.state = state["rng"]
        self._commit()
