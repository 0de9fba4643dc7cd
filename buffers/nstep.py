"""n-step transitions (Sutton, 1988; Hessel et al., 2018), made before rows go into a buffer.

A reservoir has no neighbours in time, so the sums are finished here: r_0 + g r_1 + ... and the
state after the last of these steps.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from buffers.nested import flat, nested, root
from buffers.saved import check_array, check_keys, check_settings

LAST = ("next_state", "done", "truncated")  # taken from a window's last step
NEEDED = ("state", "action", "reward", *LAST)


class NStep:
    """Turns steps of several environments into rows of up to `n` steps.

    A window ends after `n` steps, or where its episode terminates or is truncated, or before a step
    whose action was exploratory: what such an action earns says nothing of the greedy action's
    worth (Watkins, 1989; Sutton and Barto, 2018, section 12.10).

    Args:
        n: steps per row.
        discount: factor per step, from 0 to 1.
        num_envs: environments that step together.

    Raises:
        ValueError: n or num_envs below 1, or discount outside [0, 1].
    """

    def __init__(self, n: int, discount: float, num_envs: int) -> None:
        if n < 1 or num_envs < 1 or not 0 <= discount <= 1:
            raise ValueError(
                f"n {n}, num_envs {num_envs}, discount {discount}: need >= 1, >= 1 and 0 to 1"
            )
        self.n, self.discount, self.num_envs = n, discount, num_envs
        self._powers = float(discount) ** np.arange(n + 1)
        self._first: dict[str, np.ndarray] = {}  # [num_envs, n, ...]: first step of each window
        self._return = np.zeros((num_envs, n))
        self._oldest = np.zeros(num_envs, np.int64)  # slot of each env's oldest open window
        self._open = np.zeros(num_envs, np.int64)  # open windows of each env, slots in a ring
        self._window = np.arange(n)
        self._every = np.arange(num_envs), np.full(num_envs, discount, np.float32)  # to be copied
        self._known: list[Any] = []  # names, dtypes and shapes of rows that were checked
        self._nested = False  # whether some of these are in dicts
        self._last: set[str] = set()  # those of them that are taken from a window's last step

    def push(
        self,
        rows: Mapping[str, Any],
        active: np.ndarray | None = None,
        cut: np.ndarray | None = None,
    ) -> tuple[dict[str, Any], np.ndarray]:
        """Take one step of every environment and return the rows it finishes.

        Args:
            rows: arrays [num_envs, ...], or dicts of them, by column name: state, action, reward,
                next_state, done, truncated and any others.
            active: bool [num_envs]; False skips an env, such as one whose step only reset it.
            cut: bool [num_envs]; True ends an env's open windows before this step.

        Returns:
            The finished rows [m, ...] and the env of each, int64 [m], sorted by env, the oldest
            first. `next_state, done, truncated` are those of the last step, `reward` the discounted
            sum, all others those of the first step; with n = 1 they may be the very arrays given.
            Column `discount`, float32, is what the value of `next_state` is worth: discount **
            steps.

        Raises:
            ValueError: a column is missing, `discount` or of another shape than before.
        """
        if self.n > 1:
            return self._windows(self._checked(flat(rows)), active, cut)
        plain = active is None and self._is_known(rows)
        return self._single(rows if plain else self._checked(flat(rows)), active)

    def _windows(
        self, rows: Mapping[str, np.ndarray], active: np.ndarray | None, cut: np.ndarray | None
    ) -> tuple[dict[str, Any], np.ndarray]:
        """The rows of several steps that a step finishes."""
        active = np.ones(self.num_envs, bool) if active is None else np.asarray(active, bool)
        early = None
        if cut is not None and (open_cut := cut & active & (self._open > 0)).any():
            early = self._cut(rows, open_cut)
        self._begin(rows, active)
        age = self._open[:, None] - self._window  # earlier steps of each window, oldest first
        running = active[:, None] & (age >= 0)
        self._accumulate(np.asarray(rows["reward"]), age, running)
        ended = active & (np.asarray(rows["done"]) | np.asarray(rows["truncated"]))
        ready = running & (ended[:, None] | (age == self.n - 1))
        finished = self._collect(rows, age, ready)
        self._advance(active, ended, ready)
        joined, env = finished if early is None else _merge(early, finished)
        return nested(joined), env

    def _cut(
        self, rows: Mapping[str, np.ndarray], cut: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Finish the open windows of some envs at the state that this step starts from."""
        ready = cut[:, None] & (self._window < self._open[:, None])
        age = self._open[:, None] - 1 - self._window
        never = np.zeros(self.num_envs, bool)
        here = {f"next_{name}": v for name, v in rows.items() if root(name) == "state"}
        here |= {"done": never, "truncated": never}
        finished = self._collect(here, age, ready)
        self._advance(never, cut, ready)
        return finished

    def _single(
        self, rows: Mapping[str, np.ndarray], active: np.ndarray | None
    ) -> tuple[dict[str, Any], np.ndarray]:
        """The rows of one step each: what the general way would return, in a tenth of its time."""
        (every, worth), finished = self._every, dict(rows)
        if active is None:
            env = every.copy()
        else:
            env = np.asarray(active, bool).nonzero()[0]
            finished = {name: values.take(env, axis=0) for name, values in rows.items()}
        finished["reward"] = finished["reward"].astype(np.float32, copy=False)
        finished["discount"] = worth[: len(env)].copy()
        return nested(finished) if self._nested else finished, env

    def _begin(self, rows: Mapping[str, np.ndarray], active: np.ndarray) -> None:
        """Open a window in each active env."""
        env = active.nonzero()[0]
        place = self._places(env, self._open[env])
        for name, values in self._first.items():
            values.reshape(-1, *values.shape[2:])[place] = rows[name].take(env, axis=0)
        self._return.reshape(-1)[place] = 0

    def _places(self, env: np.ndarray, window: np.ndarray) -> np.ndarray:
        """Where windows of these envs, counted from their oldest, are in flat arrays."""
        return env * self.n + (self._oldest[env] + window) % self.n

    def _accumulate(self, reward: np.ndarray, age: np.ndarray, running: np.ndarray) -> None:
        env, window = running.nonzero()
        gained = self._powers.take(age[running]) * reward.take(env)
        self._return.reshape(-1)[self._places(env, window)] += gained

    def _collect(
        self, rows: Mapping[str, np.ndarray], age: np.ndarray, ready: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        env, window = ready.nonzero()
        place = self._places(env, window)
        finished = {
            name: values.reshape(-1, *values.shape[2:]).take(place, axis=0)
            for name, values in self._first.items()
        }
        finished |= {k: v.take(env, axis=0) for k, v in rows.items() if k in self._last}
        finished["reward"] = self._return.take(place).astype(np.float32)
        finished["discount"] = self._powers.take(age[ready] + 1).astype(np.float32)
        return finished, env

    def _advance(self, active: np.ndarray, ended: np.ndarray, ready: np.ndarray) -> None:
        done = ready.sum(1)
        self._oldest = (self._oldest + done) % self.n
        self._open = np.where(ended, 0, self._open + active - done)

    def reset(self) -> None:
        """Drop all open windows, as at a task switch."""
        self._open[:] = 0
        self._oldest[:] = 0

    def _checked(self, rows: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return the rows as arrays; those of first steps are made here at the first push."""
        given = {name: np.asarray(values) for name, values in rows.items()}
        known = [(name, v.dtype, v.shape) for name, v in given.items()]
        if known != self._known:
            self._first = self._fitting(given)
            self._last = {name for name in given if root(name) in LAST}
            self._known, self._nested = known, any("." in name for name in given)
        return given

    def _is_known(self, rows: Mapping[str, Any]) -> bool:
        """Whether these are arrays of the form of the last: nothing else need be looked at then."""
        if not self._known or len(rows) != len(self._known) or self._nested:
            return False
        for name, dtype, shape in self._known:
            values = rows.get(name)
            if type(values) is not np.ndarray or values.dtype != dtype or values.shape != shape:
                return False
        return True

    def _fitting(self, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the arrays of first steps, if rows fit them."""
        if missing := sorted({*NEEDED} - {root(name) for name in given}):
            raise ValueError(f"columns {missing} are missing; given are {sorted(given)}")
        if "discount" in given:
            raise ValueError("column 'discount' is made here; leave it out of the rows")
        for name, values in given.items():
            if values.shape[:1] != (self.num_envs,):
                raise ValueError(
                    f"column {name!r}: expected {self.num_envs} envs, given {list(values.shape)}"
                )
        kept = {k: v for k, v in given.items() if root(k) not in (*LAST, "reward")}
        first = self._first or {
            k: np.zeros((self.num_envs, self.n, *v.shape[1:]), v.dtype) for k, v in kept.items()
        }
        before = {name: (v.dtype, v.shape[2:]) for name, v in first.items()}
        now = {name: (v.dtype, v.shape[1:]) for name, v in kept.items()}
        if now != before:
            raise ValueError(f"columns {now} differ from those of the first push, {before}")
        return first

    def state_dict(self) -> dict[str, Any]:
        """Copy the open windows as a flat dict of arrays and numbers."""
        return {
            **self._settings(),
            "return": self._return.copy(),
            "oldest": self._oldest.copy(),
            "open": self._open.copy(),
            **{f"first.{name}": values.copy() for name, values in self._first.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become the saved one: every later `push` returns the same as there.

        Raises:
            ValueError: the state is of other settings or broken. Nothing is loaded then.
        """
        check_settings(state, self._settings())
        names = [k for k in state if k.startswith("first.")]
        check_keys(state, [*self._settings(), "return", "oldest", "open", *names])
        first = {name.removeprefix("first."): state[name] for name in names}
        self._check_arrays(state, first)
        self._first, self._known = {name: values.copy() for name, values in first.items()}, []
        self._return = state["return"].copy()
        self._oldest, self._open = state["oldest"].copy(), state["open"].copy()

    def _check_arrays(self, state: Mapping[str, Any], first: Mapping[str, np.ndarray]) -> None:
        check_array(state, "return", self._return.shape, self._return.dtype)
        for name in ("oldest", "open"):
            check_array(state, name, (self.num_envs,), self._open.dtype)
            if ((state[name] < 0) | (state[name] >= self.n)).any():
                raise ValueError(f"state {name!r}: expected numbers from 0 to {self.n - 1}")
        if self._first and first:
            check_keys(first, self._first)
        for name, values in first.items():
            mine = self._first.get(name, values)
            check_array(first, name, (self.num_envs, self.n, *mine.shape[2:]), mine.dtype)

    def _settings(self) -> dict[str, Any]:
        return {"n": self.n, "discount": self.discount, "num_envs": self.num_envs}


def _merge(
    early: tuple[dict[str, np.ndarray], np.ndarray], late: tuple[dict[str, np.ndarray], np.ndarray]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Join two batches of rows, by env, the early ones first."""
    if not len(early[1]):
        return late
    env = np.concatenate([early[1], late[1]])
    order = np.argsort(env, kind="stable")
    rows = {name: np.concatenate([early[0][name], late[0][name]])[order] for name in late[0]}
    return rows, env[order]
