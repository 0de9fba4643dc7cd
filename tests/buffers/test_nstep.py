import json
from collections import deque

import numpy as np
import pytest

from buffers import NStep


def step(number, reward, done, truncated=None):
    """One step of len(reward) envs; `number` marks the state."""
    envs = len(reward)
    mark = 100 * np.arange(envs) + number
    return {
        "state": np.stack([mark, -mark], 1).astype(np.float32),
        "action": mark,
        "reward": np.asarray(reward, np.float64),
        "next_state": np.stack([mark + 1, -mark - 1], 1).astype(np.float32),
        "done": np.asarray(done, bool),
        "truncated": np.zeros(envs, bool) if truncated is None else np.asarray(truncated, bool),
        "task": np.arange(envs, dtype=np.int32),
    }


def random_steps(num_envs, length, seed, inactive=0.2):
    rng = np.random.default_rng(seed)
    for number in range(length):
        done, truncated = rng.random((2, num_envs)) < 0.1
        rows = step(number, rng.normal(size=num_envs), done, truncated)
        yield rows, rng.random(num_envs) >= inactive


class Naive:
    """One deque of steps per env, sums written out."""

    def __init__(self, n, discount, num_envs):
        self.n, self.discount = n, discount
        self.open = [deque() for _ in range(num_envs)]

    def push(self, rows, active, cut=None):
        finished = []
        for env, steps in enumerate(self.open):
            if not active[env]:
                continue
            while steps and cut is not None and cut[env]:
                early = self.join(list(steps))
                early |= {"next_state": rows["state"][env], "done": False, "truncated": False}
                finished.append((env, early))
                steps.popleft()
            steps.append({name: values[env] for name, values in rows.items()})
            ended = steps[-1]["done"] or steps[-1]["truncated"]
            while steps and (ended or len(steps) == self.n):
                finished.append((env, self.join(list(steps))))
                steps.popleft()
        return finished

    def join(self, steps):
        row = dict(steps[0])
        row["reward"] = sum(self.discount**k * s["reward"] for k, s in enumerate(steps))
        row["discount"] = self.discount ** len(steps)
        return row | {name: steps[-1][name] for name in ("next_state", "done", "truncated")}


def test_three_steps_by_hand():
    nstep = NStep(3, 0.5, 1)
    for number, reward in ((0, 1), (1, 2)):
        rows, env = nstep.push(step(number, [reward], [False]))
        assert len(env) == len(rows["reward"]) == 0
    rows, env = nstep.push(step(2, [4], [False]))
    assert env.tolist() == [0]
    assert rows["reward"].tolist() == [1 + 0.5 * 2 + 0.25 * 4]
    assert rows["discount"].tolist() == [0.125]
    assert rows["state"].tolist() == [[0, 0]]
    assert rows["action"].tolist() == [0]
    assert rows["next_state"].tolist() == [[3, -3]]
    rows, env = nstep.push(step(3, [8], [False]))
    assert rows["reward"].tolist() == [2 + 0.5 * 4 + 0.25 * 8]
    assert rows["state"].tolist() == [[1, -1]]


def test_windows_end_before_a_cut_step_which_begins_its_own():
    nstep = NStep(3, 0.5, 2)
    nstep.push(step(0, [1, 1], [False, False]))
    nstep.push(step(1, [2, 2], [False, False]))
    rows, env = nstep.push(step(2, [4, 4], [False, False]), cut=np.array([True, False]))
    assert env.tolist() == [0, 0, 1]
    assert rows["reward"].tolist() == [1 + 0.5 * 2, 2, 1 + 0.5 * 2 + 0.25 * 4]
    assert rows["discount"].tolist() == [0.25, 0.5, 0.125]
    assert rows["next_state"][:, 0].tolist() == [2, 2, 103]
    rows, env = nstep.push(step(3, [8, 8], [True, True]))
    assert env.tolist() == [0, 0, 1, 1, 1]
    assert rows["reward"].tolist() == [4 + 0.5 * 8, 8, 2 + 0.5 * 4 + 0.25 * 8, 4 + 0.5 * 8, 8]


@pytest.mark.parametrize("end", ["done", "truncated"])
def test_an_end_finishes_all_open_windows_the_oldest_first(end):
    nstep = NStep(3, 0.5, 1)
    nstep.push(step(0, [1], [False]))
    rows, _ = nstep.push(step(1, [2], [end == "done"], [end == "truncated"]))
    assert rows["reward"].tolist() == [1 + 0.5 * 2, 2]
    assert rows["discount"].tolist() == [0.25, 0.5]
    assert rows["action"].tolist() == [0, 1]
    assert rows["next_state"].tolist() == [[2, -2], [2, -2]]
    assert rows["done"].tolist() == [end == "done"] * 2
    assert rows["truncated"].tolist() == [end == "truncated"] * 2


def test_no_window_reaches_over_the_end_of_an_episode():
    nstep = NStep(3, 1.0, 1)
    nstep.push(step(0, [1], [True]))
    for number in (1, 2):
        rows, _ = nstep.push(step(number, [10], [False]))
        assert len(rows["reward"]) == 0
    rows, _ = nstep.push(step(3, [10], [False]))
    assert (rows["reward"].tolist(), rows["action"].tolist()) == ([30], [1])


def test_a_row_that_only_resets_is_skipped_whatever_it_says():
    nstep = NStep(2, 1.0, 2)
    nstep.push(step(0, [1, 1], [True, False]))
    reset = step(1, [999, 1], [True, False])
    rows, env = nstep.push(reset, active=np.array([False, True]))
    assert env.tolist() == [1]
    assert rows["reward"].tolist() == [2]
    rows, env = nstep.push(step(2, [5, 1], [True, False]))
    assert env.tolist() == [0, 1]
    assert rows["reward"].tolist() == [5, 2]
    assert rows["action"].tolist() == [2, 101]


def test_one_env_ending_leaves_the_windows_of_the_others_open():
    nstep = NStep(3, 1.0, 3)
    nstep.push(step(0, [1, 2, 3], [False] * 3))
    rows, env = nstep.push(step(1, [1, 2, 3], [False, True, False]))
    assert env.tolist() == [1, 1]
    rows, env = nstep.push(step(2, [1, 2, 3], [False] * 3))
    assert env.tolist() == [0, 2]
    assert rows["reward"].tolist() == [3, 9]
    assert rows["task"].tolist() == [0, 2]


def test_reset_drops_what_is_open():
    nstep = NStep(2, 1.0, 1)
    nstep.push(step(0, [1], [False]))
    nstep.reset()
    rows, _ = nstep.push(step(1, [10], [False]))
    assert len(rows["reward"]) == 0
    rows, _ = nstep.push(step(2, [10], [False]))
    assert rows["reward"].tolist() == [20]


def test_one_step_is_the_row_itself_and_the_discount():
    nstep = NStep(1, 0.9, 5)
    for rows, active in random_steps(5, 50, seed=0):
        finished, env = nstep.push(rows, active)
        assert np.array_equal(env, np.flatnonzero(active))
        assert np.array_equal(finished.pop("discount"), np.full(len(env), 0.9, np.float32))
        assert finished.keys() == rows.keys()
        for name, values in rows.items():
            dtype = np.float32 if name == "reward" else values.dtype
            assert finished[name].dtype == dtype
            assert np.array_equal(finished[name], values[active].astype(dtype))


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("active", [None, np.array([True, True, False])])
def test_what_was_made_for_one_row_may_be_changed_without_changing_the_next(n, active):
    nstep = NStep(n, 0.9, 3)
    for number in range(4):
        rows, env = nstep.push(step(number, [1, 2, 3], [True] * 3), active)
        assert env.tolist() == ([0, 1, 2] if active is None else [0, 1])
        assert rows["discount"].tolist() == pytest.approx([0.9] * len(env))
        rows["discount"][:], env[:] = 0, 7


@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.parametrize("num_envs", [1, 4])
@pytest.mark.parametrize("cuts", [0.0, 0.3])
def test_it_does_what_a_deque_per_env_does(n, num_envs, cuts):
    rng = np.random.default_rng(0)
    nstep, naive = NStep(n, 0.9, num_envs), Naive(n, 0.9, num_envs)
    total = 0
    for number, (rows, active) in enumerate(random_steps(num_envs, 250, seed=n)):
        cut = rng.random(num_envs) < cuts
        finished, env = nstep.push(rows, active, cut)
        expected = naive.push(rows, active, cut)
        assert env.tolist() == [e for e, _ in expected]
        for i, (_, row) in enumerate(expected):
            assert finished.keys() == row.keys()
            for name, value in row.items():
                slack = 1e-6 if name in ("reward", "discount") else 0
                assert np.allclose(finished[name][i], value, rtol=slack, atol=slack), (number, name)
        total += len(env)
    assert total > 100 * num_envs


def test_every_active_step_begins_exactly_one_row_once_its_episode_ends():
    nstep, begun, finished = NStep(4, 0.9, 3), [], []
    for rows, active in random_steps(3, 100, seed=1):
        begun += rows["action"][active].tolist()
        finished += nstep.push(rows, active)[0]["action"].tolist()
    last = step(100, [0, 0, 0], [True, True, True])
    begun += last["action"].tolist()
    finished += nstep.push(last)[0]["action"].tolist()
    assert sorted(begun) == sorted(finished)


def test_finished_rows_are_copies():
    nstep = NStep(2, 1.0, 1)
    first, second = step(0, [1], [False]), step(1, [1], [False])
    nstep.push(first)
    first["state"][:] = 77
    rows, _ = nstep.push(second)
    assert rows["state"].tolist() == [[0, 0]]
    rows["state"][:] = rows["next_state"][:] = 88
    assert second["next_state"].tolist() == [[2, -2]]


def test_long_sums_are_kept_in_float64():
    nstep = NStep(3, 1.0, 1)
    for number, reward in enumerate((2.0**24, 1.0, 1.0)):
        rows, _ = nstep.push(step(number, [reward], [False]))
    assert rows["reward"].tolist() == [2.0**24 + 2]  # in float32 each 1 would be lost
    assert rows["reward"].dtype == np.float32


@pytest.mark.parametrize("before", [0, 1, 2, 17])
def test_a_state_saved_in_the_middle_of_windows_has_the_same_future(before, assert_equal):
    steps = list(random_steps(4, 60, seed=3))
    original, copy = NStep(3, 0.9, 4), NStep(3, 0.9, 4)
    for rows, active in steps[:before]:
        original.push(rows, active)
    state = original.state_dict()
    arrays = {k: v for k, v in state.items() if isinstance(v, np.ndarray)}
    others = {k: v for k, v in state.items() if not isinstance(v, np.ndarray)}
    copy.load_state_dict(arrays | json.loads(json.dumps(others)))
    for rows, active in steps[before:]:
        (a, env_a), (b, env_b) = original.push(rows, active), copy.push(rows, active)
        assert_equal(a, b)
        assert np.array_equal(env_a, env_b)


def test_a_state_of_the_beginning_empties_windows(assert_equal):
    nstep, new = NStep(3, 0.9, 1), NStep(3, 0.9, 1)
    nstep.push(step(0, [1], [False]))
    nstep.load_state_dict(new.state_dict())
    assert_equal(nstep.state_dict(), new.state_dict())


@pytest.mark.parametrize(
    "change",
    [
        {"n": 2},
        {"discount": 0.8},
        {"num_envs": 3},
        {"other": 1},
        {"open": np.zeros(3, np.int64)},
        {"open": None},
        {"open": np.array([0, 3])},
        {"oldest": np.array([0, -1])},
        {"return": np.zeros((2, 3), np.float32)},
        {"first.state": np.zeros((2, 3, 1), np.float32)},
        {"first.state": np.zeros((2, 3, 2), np.float64)},
        {"first.extra": np.zeros((2, 3))},
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_nothing_is_loaded(change, assert_equal):
    nstep = NStep(3, 0.9, 2)
    nstep.push(step(0, [1, 2], [False, False]))
    before = nstep.state_dict()
    with pytest.raises(ValueError) as error:
        nstep.load_state_dict(before | change)
    assert "\n" not in str(error.value)
    assert_equal(nstep.state_dict(), before)


GOOD = step(0, [1, 2], [False, False])
NEVER = [{"reward": np.zeros(3)}, {"next_state": 1.0}, {"discount": np.ones(2)}]
NOT_LATER = [
    {"state": np.zeros((2, 5), np.float32)},
    {"state": np.zeros((2, 2), np.float64)},
    {"other": np.ones(2)},
]


@pytest.mark.parametrize(
    ("steps_before", "change"),
    [(0, change) for change in NEVER] + [(1, change) for change in NEVER + NOT_LATER],
)
def test_a_bad_step_is_refused_and_changes_nothing(steps_before, change, assert_equal):
    nstep = NStep(3, 0.9, 2)
    for _ in range(steps_before):
        nstep.push(GOOD)
    before = nstep.state_dict()
    with pytest.raises(ValueError, match="column"):
        nstep.push(GOOD | change)
    with pytest.raises(ValueError, match="'done'"):
        nstep.push({name: values for name, values in GOOD.items() if name != "done"})
    assert_equal(nstep.state_dict(), before)


@pytest.mark.parametrize("arguments", [(0, 0.9, 1), (1, 1.1, 1), (1, -0.1, 1), (1, 0.9, 0)])
def test_impossible_settings_are_refused(arguments):
    with pytest.raises(ValueError, match="need"):
        NStep(*arguments)


def test_rows_of_one_step_like_the_last_pass_as_they_are_and_others_are_looked_at():
    nstep, rows = NStep(1, 0.5, 2), step(0, [1.0, 2.0], [False, True])
    rows = {name: np.asarray(values) for name, values in rows.items()}
    rows["reward"] = rows["reward"].astype(np.float32)
    for _ in range(2):
        finished, env = nstep.push(rows)
        assert all(finished[name] is values for name, values in rows.items())
        assert (finished["discount"].tolist(), env.tolist()) == ([0.5, 0.5], [0, 1])
    for wrong in ({}, {k: v for k, v in rows.items() if k != "done"}, rows | {"discount": env}):
        with pytest.raises(ValueError, match=r"missing|made here"):
            nstep.push(wrong)
    with pytest.raises(ValueError, match="expected 2 envs"):
        nstep.push(rows | {"reward": np.zeros(3, np.float32)})
    assert nstep.push(rows | {"reward": rows["reward"].tolist()})[0]["reward"].dtype == np.float32
