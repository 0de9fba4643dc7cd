"""A uniform sample of whole episodes, however long each of them is."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar, Unpack

import numpy as np

from buffers.bottom_k import BottomK
from buffers.buffer import Buffer, Common
from buffers.columns import Column
from buffers.places import nowhere
from buffers.rows import Rows, as_rows
from buffers.running import RunningEpisodes
from buffers.saved import check_array, check_counters

NO_SLOTS = np.zeros(0, np.int64)
EPISODE_MARKS = ("episode", "last")  # the columns of `episode_marks`


class EpisodeReservoir(Buffer):
    """Keeps whole episodes, each that ended with the same probability, in `capacity` rows.

    An episode is what rows of one `episode` number make up, in the order of adding, until a row
    that is its last: one that is `done` or `truncated`, or, if `last` is given, where that is True
    (with n-step rows several rows of an episode are `done`). The number only has to tell apart
    episodes that run at the same time: in vectorised environments, the environment's index will do.
    Rows of running episodes wait beside the `capacity` rows; they have no index and are
    not drawn, and `end_task` drops them. An episode of more rows than `capacity` is passed over.

    Every episode gets a uniform key when it ends, and those of the smallest keys are kept (bottom-k
    sampling; Cohen and Kaplan, 2007). How many, must not favour any length: "as many as fit"
    prefers short episodes, the last one being given up if it is long. Here, with L rows in the
    longest episode so far, an episode is kept if those of smaller keys have at most `capacity` - L
    rows, whatever its own length; and all are kept as long as all fit. In the order of keys that is
    stopping after the first episode that goes beyond a bound, and including it: by Wald's equation
    (1944) each episode is then as likely as any other. Exact where episodes are drawn anew each
    time; as no episode is drawn twice here, one of l rows is more likely by a factor of about
    1 + (l - mean length) / (rows of the whole stream), which fades as the stream goes on.

    Args:
        capacity: rows it can hold, of all kept episodes together.
        common: `state, action, extra, seed, storage, path`; see `Buffer`. `extra` has a whole
            number `episode`.

    Raises:
        ValueError: there is no column `episode` of one whole number per row.
    """

    needs: ClassVar[Mapping[str, Column]] = {
        "episode": Column((), np.int64),
        "last": Column((), np.bool_),
    }

    _nothing_to_draw = "cannot sample: no episode that fits has ended; begin to learn later"

    def __init__(self, capacity: int, **common: Unpack[Common]) -> None:
        super().__init__(capacity, **common)
        column = self.columns.get("episode")
        if column is None or column.shape or np.dtype(column.dtype).kind not in "iu":
            raise ValueError(
                f"column 'episode': expected extra={{'episode': Column((), np.int64)}}, which says "
                f"what episode each row is of; given {column}"
            )
        self._running = RunningEpisodes(self.columns)
        self._used = np.zeros(capacity, bool)
        self._forget()

    def _forget(self) -> None:
        self._running.clear()
        self._used[:] = False
        self._kept: dict[float, np.ndarray] = {}  # key -> slots of the episode's rows, in order
        self._rule = BottomK({})
        self._ended = self._passed_over = 0
        self._batch = NO_SLOTS  # where the rows of the last batch waited

    def __len__(self) -> int:
        return int(np.count_nonzero(self._used))

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, filled or not, and of the rows that wait."""
        return super().nbytes + self._running.nbytes

    def _stored(self, slots: np.ndarray) -> np.ndarray:
        inside = (slots >= 0) & (slots < self._capacity)
        return inside & self._used[np.where(inside, slots, 0)]

    def waiting(self, column: str) -> np.ndarray:
        """Copy a column of the rows of running episodes."""
        return self._running.column(column)

    def episodes(self) -> list[np.ndarray]:
        """Index of the rows of every kept episode, first row to last; the oldest episode first."""
        born = self._storage.born
        return [slots.copy() for slots in sorted(self._kept.values(), key=lambda s: born[s[0]])]

    def end_task(self) -> None:
        """Take note that the current task ends here: running episodes are dropped."""
        self._running.clear()

    def clear(self) -> None:
        """Drop all rows and forget what was offered. `seen` and the random stream go on."""
        super().clear()
        self._forget()

    def idle(self) -> str | None:
        """Say so if no episode that would fit was given up."""
        if self._rule.below < 1:
            return None
        long = f"; {self._passed_over:,} were longer than that" if self._passed_over else ""
        kept = f"{len(self._kept):,} of {self._ended:,} episodes that ended"
        return f"all that fit into {self._capacity:,} rows, {kept}, are held{long}"

    def _known(self) -> dict[str, Any]:
        """How many episodes there are and were, and how many rows wait."""
        return {
            "episodes": len(self._kept),
            "episodes_ended": self._ended,
            "episodes_passed_over": self._passed_over,
            "waiting_rows": len(self._running),
        }

    def _reserve(self, rows: Rows) -> None:
        self._storage.reserve(len(self._running) + rows.n)  # if all that wait are to be kept

    def _insert(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        rows = as_rows(self.columns, rows)
        last = rows.given.get("last")
        if last is None:
            last = rows["done"] | rows["truncated"]
            if "last" in self.columns:  # what is kept says where its episode ends
                rows = Rows(self.columns, {**rows.given, "last": last})
        waiting = self._running.put(rows, self.seen)
        ended: dict[float, np.ndarray] = {}  # key -> where the rows of an episode waited
        marks = zip(rows["episode"].tolist(), waiting.tolist(), last.tolist(), strict=True)
        for episode, slot, ends in marks:
            self._running.append(episode, slot, self._capacity)
            if ends:
                self._end(self._running.end(episode), ended)
        self.seen += len(waiting)
        self._added += len(waiting)
        self._batch = waiting
        self._commit()
        return self._places(waiting, ended) if ended else nowhere(rows.n)

    def _places(self, waiting: np.ndarray, ended: Mapping[float, np.ndarray]) -> np.ndarray:
        """Where rows are that waited, -1 where they still do or were given up."""
        stored = np.full(len(self._running.storage), -1)
        for key in ended.keys() & self._kept.keys():
            stored[ended[key]] = self._kept[key]
        return stored[waiting]

    def _end(self, waited: np.ndarray | None, ended: dict[float, np.ndarray]) -> None:
        """Keep an episode or not, now that it is whole; None: it has grown too long."""
        self._ended += 1
        if waited is None:
            self._passed_over += 1
            return
        key = self._rng.random()
        self._give_up(self._rule.offer(key, len(waited), self._capacity))
        if key < self._rule.below:
            self._kept[key] = slots = np.flatnonzero(~self._used)[: len(waited)]
            self._used[slots] = True
            self._storage.put(slots, self._running.storage.take(waited), self.seen)
            self._storage.born[slots] = self._running.storage.born[waited]
            ended[key] = waited

    def _give_up(self, keys: Iterable[float]) -> None:
        for key in keys:
            self._used[self._kept.pop(key, NO_SLOTS)] = False  # the newest has none yet

    def _number(self, born: np.ndarray) -> None:
        self._running.number(self._batch, born)

    def _shrink(self, capacity: int) -> None:
        """Longer episodes go, then those of the highest keys."""
        self._give_up([key for key, slots in self._kept.items() if len(slots) > capacity])
        self._follow(
            {length for length in self._rule.lengths if length <= capacity}, self._rule.below
        )
        self._give_up(self._rule.make_room(capacity))
        super()._shrink(capacity)

    def _follow(self, lengths: Iterable[int], below: float) -> None:
        """Go on by the rule from the episodes that are kept."""
        kept = {key: len(slots) for key, slots in self._kept.items()}
        self._rule = BottomK(kept, lengths, below)

    def _keep(self, rows: int) -> np.ndarray:
        return self.rows()

    def _moved(self, kept: np.ndarray) -> None:
        self._kept = {k: np.searchsorted(kept, slots) for k, slots in self._kept.items()}
        self._used = np.arange(self._capacity) < len(kept)

    def _draw(self, n: int) -> np.ndarray:
        stored = np.flatnonzero(self._used)
        return stored[self._rng.integers(len(stored), size=n)]

    def _counters(self) -> dict[str, Any]:
        kept = self._kept.values()
        return super()._counters() | {
            "keys": np.array(list(self._kept), np.float64),
            "lengths": np.array([len(slots) for slots in kept], np.int64),
            "slots": np.concatenate([NO_SLOTS, *kept]),
            "below": self._rule.below,
            "seen_lengths": np.array(sorted(self._rule.lengths), np.int64),
            "ended": self._ended,
            "passed_over": self._passed_over,
            **self._running.save(),
        }

    def _check_counters(self, state: Mapping[str, Any]) -> int:
        super()._check_counters(state)
        check_counters(state, "ended", "passed_over")
        for name in ("keys", "lengths", "slots", "seen_lengths"):
            dtype = np.dtype(np.float64 if name == "keys" else np.int64)
            check_array(state, name, (np.size(state[name]),), dtype)
        keys, lengths, slots = state["keys"], state["lengths"], state["slots"]
        if len(keys) != len(lengths) or lengths.sum() != len(slots) or (lengths < 1).any():
            raise ValueError("state 'lengths': expected those of the episodes that are kept")
        if len(np.unique(slots)) < len(slots) or ((slots < 0) | (slots >= self._capacity)).any():
            raise ValueError(f"state 'slots': expected some from 0 to {self._capacity - 1}, once")
        below, possible = state["below"], state["seen_lengths"]
        if not isinstance(below, float) or not ((keys < below) & (keys >= 0)).all():
            raise ValueError(f"state has below {below!r}, which does not fit the keys")
        if not np.isin(lengths, possible).all() or (possible > self._capacity).any():
            raise ValueError("state 'seen_lengths': expected also those of the episodes kept")
        self._running.check(state)
        return len(slots)

    def _load_counters(self, state: Mapping[str, Any]) -> None:
        super()._load_counters(state)
        self._forget()
        slots = np.split(state["slots"].copy(), state["lengths"].cumsum())
        self._kept = dict(zip(state["keys"].tolist(), slots, strict=False))
        self._used[state["slots"]] = True
        self._follow(state["seen_lengths"].tolist(), state["below"])
        self._ended, self._passed_over = state["ended"], state["passed_over"]
        self._running.load(state)


def episode_marks(
    ended: np.ndarray, wanted: Collection[str], envs: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Columns that an `EpisodeReservoir` needs, those that are wanted, of a step of environments.

    Args:
        ended: where the step is the last of its episode, bool [n].
        wanted: names of columns.
        envs: number of the environment of each row, int [n]; by default they count up from 0.
    """
    envs = np.arange(len(ended)) if envs is None else envs
    marks = dict(zip(EPISODE_MARKS, (envs, ended), strict=True))
    return {name: values for name, values in marks.items() if name in wanted}
