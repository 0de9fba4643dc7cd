from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from buffers import Column, EpisodeReservoir, HybridBuffer, NStep, ReplayBuffer, TaskBuffer

SHAPE = {"state": Column(), "extra": {"episode": Column((), np.int64)}}
LAST = {"state": Column(), "extra": EpisodeReservoir.needs}


def rows_of(episode, step, last, first=0):
    """Rows that say in `state` and `reward` which episode and which step of it they are."""
    episode, last = np.array(episode, np.int64), np.array(last, bool)
    return {
        "state": episode.astype(np.float32),
        "action": np.arange(first, first + len(episode)),
        "reward": np.array(step, np.float32),
        "next_state": episode.astype(np.float32),
        "done": last & (episode % 2 == 0),
        "truncated": last & (episode % 2 == 1),
        "episode": episode,
    }


def one_after_the_other(lengths, first=0):
    episode = np.repeat(np.arange(len(lengths)), lengths)
    step = np.concatenate([np.arange(n) for n in lengths] + [np.zeros(0)])
    last = np.concatenate([np.arange(n) == n - 1 for n in lengths] + [np.zeros(0)])
    return rows_of(episode + first, step, last)


def side_by_side(lengths, num_envs):
    """Steps of vectorised environments that start a new episode when one ends."""
    todo, running, rows = list(enumerate(lengths)), [None] * num_envs, []
    while todo or any(running):
        for env in range(num_envs):
            if running[env] is None and todo:
                number, length = todo.pop(0)
                running[env] = [number, 0, length]
            if running[env]:
                number, step, length = running[env]
                rows.append((number, step, step == length - 1))
                running[env] = [number, step + 1, length] if step + 1 < length else None
    return rows_of(*zip(*rows, strict=True)) if rows else one_after_the_other([])


def part(rows, first, last):
    return {name: values[first:last] for name, values in rows.items()}


def held(buffer):
    """Number of every kept episode, each checked to be whole and in order; and its length."""
    found = {}
    for index in buffer.episodes():
        rows = buffer.read(index)
        assert len(set(rows["episode"])) == 1
        assert rows["reward"].tolist() == list(range(len(index)))
        assert (rows["done"] | rows["truncated"]).tolist() == [False] * (len(index) - 1) + [True]
        found[int(rows["episode"][0])] = len(index)
    assert sum(found.values()) == len(buffer) == len(buffer.rows())
    return found


def keys_of(rows, lengths, capacity, seed=0):
    """The key of every episode that fits: numbers drawn one by one, as the episodes end."""
    order = rows["episode"][rows["done"] | rows["truncated"]].tolist()
    fitting = [number for number in order if lengths[number] <= capacity]
    drawn = np.random.default_rng(seed).random(len(fitting)).tolist()
    return dict(zip(fitting, drawn, strict=True))


def chosen(keys, lengths, capacity):
    """The rule, with all that there was before one."""
    longest = max((lengths[number] for number in keys), default=0)
    if sum(lengths[number] for number in keys) <= capacity:
        return set(keys)
    before = {n: sum(lengths[o] for o in keys if keys[o] < keys[n]) for n in keys}
    return {number for number in keys if before[number] <= capacity - longest}


@settings(max_examples=80, deadline=None)
@given(
    capacity=st.integers(1, 40),
    lengths=st.lists(st.integers(1, 12), max_size=30),
    num_envs=st.integers(1, 4),
    batch=st.integers(1, 50),
)
def test_whole_episodes_are_kept_by_the_rule(capacity, lengths, num_envs, batch):
    buffer, rows = EpisodeReservoir(capacity, **SHAPE), side_by_side(lengths, num_envs)
    for first in range(0, sum(lengths), batch):
        buffer.add(part(rows, first, first + batch))
    found, keys = held(buffer), keys_of(rows, lengths, capacity)
    assert found == {number: lengths[number] for number in chosen(keys, lengths, capacity)}
    about = buffer.describe()
    assert about["episodes"] == len(found)
    assert about["episodes_ended"] == len(lengths)
    assert about["episodes_passed_over"] == len(lengths) - len(keys)
    assert about["waiting_rows"] == 0
    given_up = len(found) < len(keys)
    assert (buffer.idle() is None) == given_up
    assert len(buffer) > (capacity - max(lengths[n] for n in keys) if given_up else -1)


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), max_size=30),
    capacities=st.lists(st.integers(1, 30), min_size=1, max_size=3),
)
def test_a_shrinking_memory_holds_all_episodes_that_fit_of_keys_below_a_bound(lengths, capacities):
    buffer, number = EpisodeReservoir(30, **SHAPE), 0
    keys = keys_of(one_after_the_other(lengths), lengths, 30)
    for capacity in sorted(capacities, reverse=True):
        buffer.add(one_after_the_other(lengths[number : number + 9], first=number))
        number += 9
        buffer.shrink(capacity)
        fitting = {n: keys[n] for n in range(min(number, len(lengths))) if lengths[n] <= capacity}
        assert set(held(buffer)) == {n for n, key in fitting.items() if key < buffer._rule.below}
        assert len(buffer) <= capacity
        lengths = lengths[:number] + [n for n in lengths[number:] if n <= capacity]
        keys = dict(enumerate(keys_of(one_after_the_other(lengths), lengths, 30).values()))


def test_long_and_short_episodes_are_kept_equally_often():
    """80 episodes of 1 to 8 rows; of the longer half as many as fit would keep a seventh less."""
    lengths = [1 + 5 * i % 8 for i in range(80)]
    rows, kept, fit = one_after_the_other(lengths), np.zeros(80), np.zeros(80)
    for seed in range(700):
        buffer = EpisodeReservoir(24, seed=seed, **SHAPE)
        buffer.add(rows)
        kept[list(held(buffer))] += 1
        order = np.argsort(np.random.default_rng(seed).random(80))
        fit[order[np.cumsum(np.array(lengths)[order]) <= 24]] += 1
    long = np.array(lengths) > 4
    assert chisquare(kept).pvalue > 0.001  # those of one run exclude one another: it is smaller
    assert chisquare([kept[long].sum(), kept[~long].sum()]).pvalue > 0.001
    assert chisquare([fit[long].sum(), fit[~long].sum()]).pvalue < 1e-4


def test_episodes_of_one_length_are_a_uniform_sample():
    found = Counter()
    for seed in range(1_000):
        buffer = EpisodeReservoir(8, seed=seed, **SHAPE)
        buffer.add(one_after_the_other([3, 3, 3]))
        buffer.add(one_after_the_other([3, 3], first=3))
        found[tuple(sorted(held(buffer)))] += 1
    counts = [found[pair] for pair in combinations(range(5), 2)]
    assert sum(counts) == 1_000
    assert 0.001 < chisquare(counts).pvalue < 0.999


def test_rows_have_no_index_before_their_episode_ends():
    buffer, rows = EpisodeReservoir(10, **SHAPE), one_after_the_other([5, 1])
    assert buffer.add(part(rows, 0, 3)).tolist() == [-1] * 3
    assert (len(buffer), buffer.describe()["waiting_rows"], buffer.seen) == (0, 3, 3)
    with pytest.raises(ValueError, match="no episode that fits has ended"):
        buffer.sample(1)
    index = buffer.add(part(rows, 3, 6))
    assert buffer.read(index)["action"].tolist() == [3, 4, 5]
    assert buffer.ages().tolist() == (5 - buffer.read(buffer.rows())["action"]).tolist()


def in_tasks(capacity, **common):
    return TaskBuffer(capacity, kind=EpisodeReservoir, draw_current=True, **common)


@pytest.mark.parametrize("make", [EpisodeReservoir, in_tasks])
def test_rows_that_wait_know_their_place_when_four_bytes_cannot_count_them(make):
    buffer, rows = make(10, **SHAPE), one_after_the_other([6, 5])
    buffer.seen = 2**32 - 8
    for first in range(0, 11, 4):
        buffer.add(part(rows, first, first + 4))
    assert len(buffer) in (5, 6)
    assert np.array_equal(buffer.ages(), 10 - buffer.read(buffer.rows())["action"])


def test_rows_that_wait_are_saved_with_places_that_four_bytes_cannot_count():
    buffer, copy = EpisodeReservoir(10, **SHAPE), EpisodeReservoir(10, **SHAPE)
    buffer.seen = 2**32
    buffer.add(part(one_after_the_other([6]), 0, 3))
    copy.load_state_dict(buffer.state_dict())
    assert (copy.state_dict()["running_born"] - 2**32).tolist() == [0, 1, 2]


def test_an_episode_longer_than_the_capacity_is_passed_over():
    buffer = EpisodeReservoir(4, **SHAPE)
    buffer.add(one_after_the_other([5, 9]))
    assert held(buffer) == {}
    assert "0 of 2 episodes that ended, are held; 2 were longer" in buffer.idle()
    assert buffer.describe()["waiting_rows"] == 0
    buffer.add(one_after_the_other([4], first=2))
    assert held(buffer) == {2: 4}


def test_a_switch_drops_what_has_not_ended():
    buffer, rows = EpisodeReservoir(9, **SHAPE), one_after_the_other([4])
    buffer.add(part(rows, 0, 3))
    buffer.end_task()
    assert buffer.describe()["waiting_rows"] == 0
    buffer.add(rows)
    assert held(buffer) == {0: 4}


def test_with_n_step_rows_the_column_last_says_where_an_episode_ends():
    """Two environments, whose last two rows of three steps each are both `done`."""
    buffer, nstep = EpisodeReservoir(100, **LAST), NStep(3, 1.0, 2)
    for step in range(7):
        last = np.array([step == 6, step == 4])
        steps = rows_of([0, 2], [1, 1], last) | {"last": last}
        steps["state"] = np.array([step, step], np.float32)
        rows, _ = nstep.push(steps, active=np.array([True, step < 5]))
        del rows["discount"]
        buffer.add(rows)
    short, long = (buffer.read(index) for index in buffer.episodes()[::-1])
    assert short["state"].tolist() == [0, 1, 2, 3, 4]
    assert long["state"].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert long["done"].tolist() == [False] * 4 + [True] * 3
    assert long["reward"].tolist() == [3, 3, 3, 3, 3, 2, 1]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    "make",
    [
        lambda **common: EpisodeReservoir(100, **common),
        lambda **common: HybridBuffer(9, rows_per_task=100, kind=EpisodeReservoir, **common).memory,
    ],
)
def test_a_column_last_that_nobody_gives_leaves_the_end_to_done_and_truncated(make, batch):
    buffer, rows = make(**LAST), one_after_the_other([4, 3, 5])
    for first in range(0, 12, batch):
        buffer.add(part(rows, first, first + batch))
    kept = buffer.read(buffer.rows())
    assert sorted(kept["action"]) == list(range(12))
    assert kept["last"].tolist() == (kept["done"] | kept["truncated"]).tolist()
    again = make(**LAST)
    again.add(kept)  # with a `last` of their own now
    assert len(again) == 12


def test_rows_of_running_episodes_can_be_looked_at():
    buffer = EpisodeReservoir(100, **SHAPE)
    buffer.add(side_by_side([2, 6, 4], 2))
    buffer.add(rows_of([7, 8, 7], [0, 0, 1], [False] * 3, first=50))
    assert buffer.waiting("action").tolist() == [50, 52, 51]
    hybrid = HybridBuffer(5, kind=EpisodeReservoir, **SHAPE)
    assert hybrid.waiting("action").tolist() == []
    before = hybrid.nbytes
    hybrid.add(rows_of([7, 8, 7], [0, 0, 1], [False] * 3, first=50))
    assert hybrid.waiting("action").tolist() == [50, 52, 51]
    assert hybrid.nbytes > before + 3 * 20


@pytest.mark.parametrize("extra", [{}, {"episode": Column((2,), int)}, {"episode": Column()}])
@pytest.mark.parametrize(
    "make",
    [
        EpisodeReservoir,
        lambda n, **common: TaskBuffer(n, kind=EpisodeReservoir, **common),
        lambda n, **common: HybridBuffer(n, kind=EpisodeReservoir, **common),
    ],
)
def test_without_a_whole_number_per_row_that_names_its_episode_it_is_refused(make, extra):
    with pytest.raises(ValueError, match="column 'episode'"):
        make(10, state=Column(), extra=extra)


def test_a_hybrid_memory_keeps_whole_episodes_of_every_task():
    buffer = HybridBuffer(50, rows_per_task=12, kind=EpisodeReservoir, **SHAPE)
    for task in (0, 1):
        rows = side_by_side([4, 3, 5, 2, 4, 3, 5, 2], 3)
        rows["action"] += 28 * task
        for first in range(0, 28, 7):
            buffer.add(part(rows, first, first + 7) | {"task": np.full(7, task)})
        buffer.add(part(rows, 0, 1) | {"task": [task], "action": [1000]})  # does not end
        buffer.end_task()
    memory = buffer.memory
    actions = memory.read(memory.rows())["action"]
    assert np.array_equal(memory.ages(), 57 - actions - (actions >= 28))
    for own in memory._parts.values():
        assert len(held(own)) >= 2
        assert len(own._running) == 0
    assert set(buffer.sample(100).data["task"]) == {0, 1}


def test_recent_rows_and_whole_episodes_can_have_the_same_columns():
    assert ReplayBuffer(5, **SHAPE).columns == EpisodeReservoir(5, **SHAPE).columns


def test_running_episodes_are_part_of_the_state(assert_equal):
    rows = side_by_side([6, 2, 30, 4, 7, 3], 3)
    original, copy = EpisodeReservoir(9, seed=1, **SHAPE), EpisodeReservoir(9, seed=2, **SHAPE)
    original.add(part(rows, 0, 40))
    assert -1 in original.state_dict()["running_lengths"]  # one is too long already
    copy.load_state_dict(original.state_dict())
    assert_equal(copy.state_dict(), original.state_dict())
    assert np.array_equal(original.add(part(rows, 40, None)), copy.add(part(rows, 40, None)))
    assert_equal(copy.state_dict(), original.state_dict())
    assert held(copy) == held(original) != {}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: {**s, "lengths": s["lengths"] + 1},
        lambda s: {**s, "slots": s["slots"] * 0},
        lambda s: {**s, "slots": s["slots"] + 9},
        lambda s: {**s, "keys": s["keys"] + 1},
        lambda s: {**s, "seen_lengths": s["seen_lengths"][:0]},
        lambda s: {**s, "seen_lengths": s["seen_lengths"] + 9},
        lambda s: {**s, "below": None},
        lambda s: {**s, "ended": -1},
        lambda s: {**s, "running_lengths": s["running_lengths"] + 1},
        lambda s: {**s, "running_episodes": s["running_episodes"] * 0},
        lambda s: {**s, "running_column.reward": s["running_column.reward"][1:]},
    ],
)
def test_a_broken_state_is_refused(spoil, assert_equal):
    buffer = EpisodeReservoir(9, **SHAPE)
    buffer.add(part(side_by_side([2, 4, 2, 9, 9, 9], 3), 0, 15))
    before = buffer.state_dict()
    with pytest.raises(ValueError, match="state"):
        buffer.load_state_dict(spoil(before))
    assert_equal(buffer.state_dict(), before)


def test_before_an_episode_has_ended_it_says_that_there_is_nothing_to_draw():
    buffer = EpisodeReservoir(9, **SHAPE)
    buffer.add(rows_of([0, 0], [0, 1], [False, False]))
    with pytest.raises(ValueError, match="no episode that fits has ended; begin to learn later"):
        buffer.sample(2)
