"""Prioritised replay: what surprised the learner is drawn more often (Schaul et al., 2016).

That decides what is drawn and not what is kept, so it goes with any rule of admission: put
`Prioritized`, or `Ranked`, before the class that admits, `class Mine(Prioritized, MyBuffer)`.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from math import gcd
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from buffers import saved
from buffers.buffer import Buffer, Common
from buffers.checks import checked_errors
from buffers.priorities import Priorities, Proportional
from buffers.replay import ReplayBuffer
from buffers.reservoir import ReservoirBuffer

ALIKE = "all rows held count as equally surprising: no TD error was told of them, or all are alike"


class Options(Common, total=False):
    """What the constructors here take beside their own arguments; see `Prioritized`."""

    alpha: float
    beta: float
    anneal: int
    eps: float


class Prioritized(Buffer):
    """Draws a row in proportion to (|TD error| + eps) ** alpha (Schaul et al., 2016, section 3.3).

    A new row counts as surprising as the most surprising one so far, 1 at first. One row is drawn
    from each of n parts of equal probability; they are dealt so that a minibatch cut from a sample
    has some of all. Weights are (N P(i)) ** -beta, divided by the largest of the sample: of the
    sample rather than of the buffer, so that one row that is hardly ever drawn does not make all
    steps small. `beta` rises linearly to 1.

    Feedback counts for rows that were drawn and have been there since. For a row that was
    overwritten, dropped or moved after it was drawn, or never drawn, it is ignored; unless the row
    that came instead was drawn as well before the late feedback came, which then counts for that.

    Args:
        capacity: rows it can hold.
        alpha: how much priorities count; 0 draws uniformly.
        beta: exponent of the weights at first; 0 weighs all alike, 1 undoes the priorities.
        anneal: rows drawn until `beta` is 1.
        eps: added to |TD error|, so that a row without error is drawn too.
        common: what the class that admits takes.

    Raises:
        ValueError: one of these is out of range.
    """

    _priorities_of: Callable[[int, float], Priorities] = Proportional

    def __init__(
        self,
        capacity: int,
        *,
        alpha: float = 0.6,
        beta: float = 0.4,
        anneal: int = 3_000_000,
        eps: float = 1e-6,
        **common: Any,
    ) -> None:
        super().__init__(capacity, **common)
        if not (0 <= alpha < np.inf and 0 <= eps < np.inf):
            raise ValueError(f"alpha {alpha}, eps {eps}: expected finite numbers from 0 up")
        if not (0 <= beta <= 1 and anneal >= 1):
            raise ValueError(f"beta {beta}, anneal {anneal}: expected 0 to 1, and at least 1 row")
        self._alpha, self._first_beta, self._anneal, self._eps = alpha, beta, anneal, eps
        self._times_drawn = 0  # rows drawn so far
        self._forget()

    def _forget(self) -> None:
        self._priorities = self._new_priorities()
        self._drawn = np.zeros(self._capacity, bool)  # whether the row there was ever drawn
        self._most = 1.0  # the largest surprise so far

    def _new_priorities(self) -> Priorities:
        return type(self)._priorities_of(self._capacity, self._alpha)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, filled or not."""
        return super().nbytes + self._priorities.nbytes + self._drawn.nbytes

    @property
    def beta(self) -> float:
        """Exponent of the weights now."""
        passed = min(1.0, self._times_drawn / self._anneal)
        return self._first_beta + (1 - self._first_beta) * passed

    def feedback(self, index: ArrayLike, td_error: ArrayLike) -> None:
        """Take note how wrong the learner was on the rows at `index`; repeats: last wins.

        Args:
            index: of the rows, as in a sample, [n].
            td_error: of either sign, [n].

        Raises:
            ValueError: a TD error is NaN or infinite, or they are not as many as the rows. The
                buffer then stays as it was.
        """
        slots, error = checked_errors(index, td_error)
        inside = slots.view(np.uint64) < self._capacity  # negative ones are huge there
        known = inside & self._drawn.take(slots, mode="clip")
        surprise = np.abs(error[known]) + self._eps
        self._priorities.set(slots[known], surprise)
        self._most = max(self._most, float(surprise.max(initial=0)))

    def idle(self) -> str | None:
        """Say so if it had no choice to make yet, neither what to keep nor what to draw more of."""
        if self._alpha and not self._priorities.alike(len(self)):
            return None
        return super().idle() or (ALIKE if self._alpha and len(self) else None)

    def clear(self) -> None:
        """Drop all rows and what was learnt of them. `seen`, `beta` and the random stream go on."""
        super().clear()
        self._forget()

    def _insert(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        slots = super()._insert(rows)
        kept = slots[slots >= 0]
        self._priorities.set(kept, np.full(len(kept), self._most))
        self._drawn[kept] = False
        return slots

    def _draw(self, n: int) -> np.ndarray:
        uniform = self._rng.random(n + 1)
        where = (np.arange(n) + uniform[:n]) / n
        first = int(uniform[n] * n)
        slots = self._priorities.draw(where, len(self))[dealt(n)[first : first + n]]
        self._drawn[slots] = True
        self._times_drawn += n
        return slots

    def _corrects(self) -> bool:
        return True

    def _weigh(self, slots: np.ndarray) -> np.ndarray:
        times = self._priorities.times_uniform(slots, len(self))
        return (times**-self.beta).astype(np.float32)

    def _moved(self, kept: np.ndarray) -> None:
        super()._moved(kept)
        self._priorities = self._priorities.keep(kept, self._capacity)
        self._drawn = np.zeros(self._capacity, bool)  # an index from before means another row now

    def _counters(self) -> dict[str, Any]:
        own = {"times_drawn": self._times_drawn, "most": self._most}
        rows = len(self)
        arrays = {"drawn": self._drawn[:rows].copy(), **self._priorities.save(rows)}
        return super()._counters() | own | arrays

    def _check_counters(self, state: Mapping[str, Any]) -> int:
        rows = super()._check_counters(state)
        saved.check_counters(state, "times_drawn")
        if not isinstance(state["most"], float) or not 0 < state["most"] < np.inf:
            raise ValueError(f"state has most {state['most']!r}, expected a number above 0")
        saved.check_array(state, "drawn", (rows,), self._drawn.dtype)
        self._priorities.check(state, rows)
        return rows

    def _load_counters(self, state: Mapping[str, Any]) -> None:
        super()._load_counters(state)
        self._forget()
        self._priorities.load(state)
        self._drawn[: len(state["drawn"])] = state["drawn"]
        self._times_drawn, self._most = state["times_drawn"], state["most"]


@lru_cache
def dealt(n: int) -> np.ndarray:
    """Order, twice over, in which any run of a few of `n` parts is spread over all of them.

    Each part follows the one before at a distance of the golden ratio, all around: a minibatch cut
    from a larger sample is as evenly spread as if it had been drawn alone.
    """
    step = next(k for k in range(round(0.618 * n), 2 * n + 2) if gcd(k, n) == 1)
    return np.arange(2 * n) * step % n


class PrioritizedBuffer(Prioritized, ReplayBuffer):
    """First in, first out; what surprised is drawn more often.

    Args:
        capacity: rows it can hold.
        clear_at_switch: whether `end_task` drops all rows.
        options: as of `Prioritized` and `Buffer`.
    """

    def __init__(
        self, capacity: int, *, clear_at_switch: bool = False, **options: Unpack[Options]
    ) -> None:
        super().__init__(capacity, clear_at_switch=clear_at_switch, **options)


class PrioritizedReservoir(Prioritized, ReservoirBuffer):
    """A uniform sample of the stream; what surprised is drawn more often.

    Args:
        capacity: rows it can hold.
        options: as of `Prioritized` and `Buffer`.
    """

    def __init__(self, capacity: int, **options: Unpack[Options]) -> None:
        super().__init__(capacity, **options)
