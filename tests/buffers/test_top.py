from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from buffers import Column, HybridBuffer, RewardBuffer, SurpriseBuffer

STATE = {"state": Column()}
BATCHES = st.lists(st.lists(st.integers(-5, 5), max_size=30), max_size=6)


def rows_of(reward, first=0, **extra):
    i = np.arange(first, first + len(reward))
    reward = np.array(reward, np.float32)
    return {"state": i, "action": i, "reward": reward, "next_state": i, "done": i < 0} | extra


def held(buffer, name="action"):
    return sorted(buffer.read(buffer.rows())[name].tolist())


@settings(max_examples=60, deadline=None)
@given(capacity=st.integers(1, 12), batches=BATCHES)
def test_the_rewards_held_are_the_largest_of_the_stream(capacity, batches):
    buffer = RewardBuffer(capacity, **STATE)
    for batch in batches:
        buffer.add(rows_of(batch))
    largest = sorted((abs(reward) for batch in batches for reward in batch), reverse=True)
    assert sorted(np.abs(held(buffer, "reward")), reverse=True) == largest[:capacity]


@pytest.mark.parametrize("n", [1, 7, 500])
def test_of_unequal_rewards_the_rows_held_are_those_that_a_sort_gives(n):
    rng = np.random.default_rng(0)
    reward = rng.permutation(np.linspace(-3, 2.9, 2_000)).astype(np.float32)
    buffer = RewardBuffer(150, **STATE)
    for first in range(0, len(reward), n):
        buffer.add(rows_of(reward[first : first + n], first))
    assert held(buffer) == sorted(np.argsort(np.abs(reward))[-150:].tolist())


def test_of_equal_rewards_every_choice_is_equally_likely():
    """Two of the five rows that pay 1 beside the one that pays 2, however they are added."""
    found = Counter()
    for seed in range(1_500):
        buffer = RewardBuffer(3, seed=seed, **STATE)
        for first, reward in ((0, [1, 1]), (2, [-1]), (3, [1, 2, 0, -1])):
            buffer.add(rows_of(reward, first))
        found[tuple(held(buffer))] += 1
    counts = [found[*sorted((*pair, 4)),] for pair in combinations((0, 1, 2, 3, 6), 2)]
    assert sum(counts) == 1_500
    assert 0.001 < chisquare(counts).pvalue < 0.999


def test_another_column_can_count_and_nan_counts_as_nothing():
    buffer = RewardBuffer(2, by="return", extra={"return": Column((), np.float64)}, **STATE)
    returns = np.array([np.nan, -3.0, 1.0, 1e300, np.nan])
    buffer.add(rows_of([9, 0, 9, 0, 9], **{"return": returns}))
    assert held(buffer) == [1, 3]


@pytest.mark.parametrize("by", ["return", "q"])
def test_a_column_that_is_no_number_per_row_is_refused(shape, by):
    with pytest.raises(ValueError, match=f"by '{by}'"):
        RewardBuffer(2, by=by, **shape)


def test_a_shrinking_memory_keeps_the_largest():
    buffer = RewardBuffer(6, **STATE)
    buffer.add(rows_of([3, 1, 4, 1.5, 9, 2.5, 6]))
    buffer.shrink(3)
    assert held(buffer, "reward") == [4, 6, 9]
    buffer.add(rows_of([5, 1]))
    assert held(buffer, "reward") == [5, 6, 9]


@settings(max_examples=60, deadline=None)
@given(
    capacity=st.integers(1, 12),
    steps=st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15), st.randoms()), max_size=8),
)
def test_the_least_surprising_rows_are_given_up_first_and_unknown_ones_last(capacity, steps):
    buffer, told = SurpriseBuffer(capacity, **STATE), {}
    first = 0
    for step, (added, fed, random) in enumerate(steps):
        buffer.add(rows_of([0] * added, first))
        first += added
        unknown = first - len(told)
        room = max(capacity - unknown, 0)
        expected = dict(sorted(told.items(), key=lambda item: -item[1])[:room])
        rows = buffer.rows()
        assert set(expected) <= set(held(buffer))
        assert len(rows) == min(first, capacity)
        # What was given up is never told of again.
        index = [int(row) for row in rows if random.random() < fed / 15]
        errors = random.sample(range(step - 4_000, 0, 8), len(index))  # no error twice
        buffer.feedback(np.array(index, np.int64), np.array(errors, np.float32))
        actions = buffer.read(index)["action"].tolist()
        told = expected | dict(zip(actions, np.abs(errors).tolist(), strict=True))
        first, told = renumber(buffer, told)


def renumber(buffer, told):
    """Count only the rows held, so that `first - len(told)` are unknown."""
    actions = held(buffer)
    place = {action: i for i, action in enumerate(actions)}
    rows = buffer.rows()
    order = [place[action] for action in buffer.read(rows)["action"].tolist()]
    buffer.write(rows, action=np.array(order, np.int64))
    return len(actions), {place[action]: error for action, error in told.items()}


def test_the_scores_known_are_described():
    rewards, surprises = RewardBuffer(3, **STATE), SurpriseBuffer(3, **STATE)
    for buffer in (rewards, surprises):
        assert buffer.describe()["score"] is None
        buffer.add(rows_of([1, -4, 2, 0.5]))
    assert rewards.describe()["score"] == {"min": 1, "median": 2, "max": 4}
    assert surprises.describe()["score"] is None
    surprises.feedback(np.array([1, 2]), np.array([-3, 0.5]))
    assert surprises.describe()["score"] == {"min": 0.5, "median": 1.75, "max": 3}


def test_of_two_errors_for_a_row_the_last_counts():
    buffer = SurpriseBuffer(2, **STATE)
    buffer.add(rows_of([0, 0]))
    buffer.feedback(np.array([0, 1, 0]), np.array([9.0, -5.0, 1.0]))
    buffer.add(rows_of([0], 2))
    assert held(buffer) == [1, 2]


@pytest.mark.parametrize(
    ("index", "error"),
    [([0], [np.nan]), ([0], [np.inf]), ([0, 1], [1.0]), ([5], [1.0]), ([0.5], [1.0])],
)
def test_unusable_feedback_is_refused_and_nothing_changes(index, error, assert_equal):
    buffer = SurpriseBuffer(4, **STATE)
    buffer.add(rows_of([0, 0]))
    before = buffer.state_dict()
    with pytest.raises(ValueError, match=r"^(feedback|index|no row)") as refused:
        buffer.feedback(np.array(index), np.array(error))
    assert "\n" not in str(refused.value)
    assert_equal(buffer.state_dict(), before)


def test_the_largest_errors_there_are_do_not_count_as_unknown():
    buffer = SurpriseBuffer(2, **STATE)
    buffer.add(rows_of([0, 0]))
    buffer.feedback(np.array([0, 1]), np.array([1e300, -1e300]))
    buffer.add(rows_of([0], 2))
    assert 2 in held(buffer)


def test_a_memory_of_surprises_says_that_it_was_told_of_none():
    buffer = SurpriseBuffer(4, **STATE)
    buffer.add(rows_of([0] * 4))
    assert "fit into 4" in buffer.idle()
    buffer.add(rows_of([0] * 4))
    assert "no TD error" in buffer.idle()
    buffer.feedback(buffer.rows()[:1], np.ones(1))
    assert buffer.idle() is None


def test_in_a_hybrid_memory_the_errors_of_drawn_rows_decide():
    buffer = HybridBuffer(8, rows_per_task=4, kind=SurpriseBuffer, draw_current=True, **STATE)
    buffer.add(rows_of(range(4)))
    sample = buffer.sample(200)
    buffer.feedback(sample.index, sample.data["reward"] + 1)
    buffer.add(rows_of([7, 7], 4))
    assert sorted(buffer.memory.read(buffer.memory.rows())["action"]) == [2, 3, 4, 5]
