"""n-step transitions (Sutton, 1988; Hessel et al., 2018), made before rows go into a buffer.

A reservoir has no neighbours in time, so the sums are finished here: r_0 + g r_1 + ... and the
state after the last of these steps.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from buffers.nested import flat, nested, root
from buffers.state import check_array, check_keys, check_settings

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
            first. `next_state, done, truncated` are those of the last step, `reward` the
            discounted sum, all others those of the first step. Column `discount`, float32, is what
            the value of `next_state` is worth: discount ** steps.

        Raises:
            ValueError: a column is missing, `discount` or of another shape than before.
        """
        rows = flat(rows)
        self._first = self._checked(rows)
        active = np.ones(self.num_envs, bool) if active is None else np.asarray(active, bool)
        early = self._cut(rows, active & cut) if cut is not None else None
        self._begin(rows, active)
        age = self._open[:, None] - np.arange(self.n)  # earlier steps of each window, oldest first
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
        ready = cut[:, None] & (np.arange(self.n) < self._open[:, None])
        age = self._open[:, None] - 1 - np.arange(self.n)
        never = np.zeros(self.num_envs, bool)
        here = {f"next_{name}": v for name, v in rows.items() if root(name) == "state"}
        here |= {"done": never, "truncated": never}
        finished = self._collect(here, age, ready)
        self._advance(never, cut, ready)
        return finished

    def _begin(self, rows: Mapping[str, np.ndarray], active: np.ndarray) -> None:
        """Open a window in each active env."""
        env = np.flatnonzero(active)
        slot = (self._oldest[env] + self._open[env]) % self.n
        for name, values in self._first.items():
            values[env, slot] = rows[name][env]
        self._return[env, slot] = 0

    def _accumulate(self, reward: np.ndarray, age: np.ndarray, running: np.ndarray) -> None:
        env, window = np.nonzero(running)
        slot = (self._oldest[env] + window) % self.n
        self._return[env, slot] += self._powers[age[env, window]] * reward[env]

    def _collect(
        self, rows: Mapping[str, np.ndarray], age: np.ndarray, ready: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        env, window = np.nonzero(ready)
        slot = (self._oldest[env] + window) % self.n
        finished = {name: values[env, slot] for name, values in self._first.items()}
        finished |= {k: np.asarray(v)[env] for k, v in rows.items() if root(k) in LAST}
        finished["reward"] = self._return[env, slot].astype(np.float32)
        finished["discount"] = self._powers[age[env, window] + 1].astype(np.float32)
        return finished, env

    def _advance(self, active: np.ndarray, ended: np.ndarray, ready: np.ndarray) -> None:
        done = ready.sum(1)
        self._oldest = (self._oldest + done) % self.n
        self._open = np.where(ended, 0, self._open + active - done)

    def reset(self) -> None:
        """Drop all open windows, as at a task switch."""
        self._open[:] = 0
        self._oldest[:] = 0

    def _checked(self, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the arrays of first steps, made here at the first push."""
        if missing := sorted({*NEEDED} - {root(name) for name in rows}):
            raise ValueError(f"columns {missing} are missing; given are {sorted(rows)}")
        if "discount" in rows:
            raise ValueError("column 'discount' is made here; leave it out of the rows")
        given = {name: np.asarray(values) for name, values in rows.items()}
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
        self._first = {name: values.copy() for name, values in first.items()}
        self._return = state["return"].copy()
        self._oldest, self._open = state["oldest"].copy(), state["open"].copy()

    def _check_arrays(self, state: Mapping[str, Any], first: Mapping[str, np.ndarray]) -> None:
        check_array(state, "return", self._return.shape, self._return.dtype)
        for name in ("oldest", "open"):
            check_array(state, name, (self.num_envs,), self._open.dtype)
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
