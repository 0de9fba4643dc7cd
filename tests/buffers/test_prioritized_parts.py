"""Feedback and state of prioritised buffers, alone and as parts of others."""

import json

import numpy as np
import pytest

from buffers import (
    BUFFERS,
    HybridBuffer,
    MixtureBuffer,
    PrioritizedBuffer,
    PrioritizedReservoir,
    RankBuffer,
    ReplayBuffer,
    TaskBuffer,
    compiled,
)

KINDS = [PrioritizedBuffer, PrioritizedReservoir, RankBuffer]


def teach(buffer, td_error) -> None:
    """Let all rows that can be drawn be drawn, then tell the TD errors of all rows."""
    buffer.sample(40 * len(buffer))
    buffer.feedback(buffer.rows(), td_error)


# --- feedback that cannot be, or is too late ------------------------------------------------------


def compositions(shape) -> dict:
    recent = PrioritizedBuffer(16, **shape)
    both = {"recent": recent, "sample": RankBuffer(16, **shape)}
    return {
        "fifo": PrioritizedBuffer(16, **shape),
        "reservoir": PrioritizedReservoir(16, **shape),
        "rank": RankBuffer(16, **shape),
        "tasks": TaskBuffer(16, kind=PrioritizedReservoir, shared=True, **shape),
        "hybrid": HybridBuffer(16, kind=RankBuffer, recent_kind=PrioritizedBuffer, **shape),
        "mixture": MixtureBuffer(both, {"recent": 0.5, "sample": 0.5}),
    }


NAMES = ["fifo", "reservoir", "rank", "tasks", "hybrid", "mixture"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_td_error_that_is_no_number_is_refused_and_nothing_changes(
    name, wrong, shape, filled, assert_equal
):
    buffer = filled(compositions(shape)[name])
    index = np.sort(buffer.sample(20).index)
    before = buffer.state_dict()
    with pytest.raises(ValueError, match=f"given {wrong} for row {index[-1]}") as error:
        buffer.feedback(index, [*np.ones(19), wrong])
    assert "\n" not in str(error.value)
    assert_equal(buffer.state_dict(), before)


@pytest.mark.parametrize("name", NAMES)
def test_as_many_td_errors_as_rows_are_needed(name, shape, filled, assert_equal):
    buffer = filled(compositions(shape)[name])
    index = buffer.sample(4).index
    before = buffer.state_dict()
    for td_error in (np.ones(3), np.ones((4, 1)), 1.0):
        with pytest.raises(ValueError, match="expected as many rows as TD errors"):
            buffer.feedback(index, td_error)
    assert_equal(buffer.state_dict(), before)


@pytest.mark.parametrize("name", NAMES)
def test_of_repeated_feedback_the_last_counts(name, shape, filled, assert_equal):
    buffer, twin = filled(compositions(shape)[name]), filled(compositions(shape)[name])
    index = np.unique(buffer.sample(20).index)
    twin.sample(20)
    buffer.feedback(np.tile(index, 2), np.arange(2.0 * len(index)) - 3)
    twin.feedback(index, np.arange(len(index)) + len(index) - 3.0)
    state = buffer.state_dict()
    largest = {key: state[key] for key in state if key.split(".")[-1] == "most"}
    assert_equal(state, twin.state_dict() | largest)


@pytest.mark.parametrize("name", NAMES)
def test_feedback_comes_through_to_the_priorities(name, shape, filled):
    buffer = filled(compositions(shape)[name])
    index = buffer.sample(100).index
    buffer.feedback(index, np.where(index == index[0], 1e3, 0))
    assert np.mean(buffer.sample(100).index == index[0]) > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_feedback_about_rows_that_are_gone_is_ignored(name, shape, filled, make_rows, assert_equal):
    buffer = filled(compositions(shape)[name])
    index = buffer.sample(50).index
    buffer.clear()
    buffer.feedback(index, np.full(50, 9.0))
    filled(buffer)
    before = buffer.state_dict()
    buffer.feedback(index, np.full(50, 9.0))  # those here now were never drawn
    buffer.feedback([-1, -2, 10**6, 10**12], np.full(4, 9.0))
    assert_equal(buffer.state_dict(), before)


@pytest.mark.parametrize("kind", KINDS)
def test_where_rows_moved_an_index_from_before_means_none(kind, make_rows, shape, assert_equal):
    buffer = TaskBuffer(12, kind=kind, shared=True, draw_current=True, **shape)
    buffer.add(make_rows(0, 30))
    index = buffer.sample(50).index
    buffer.add(make_rows(30, 1, task=1))
    before = buffer.state_dict()
    buffer.feedback(index, np.full(50, 9.0))
    assert_equal(buffer.state_dict(), before)


# --- with other buffers --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PrioritizedBuffer, PrioritizedReservoir])
def test_rows_take_their_priorities_along_when_a_block_shrinks(kind, make_rows, shape):
    common = {"alpha": 1, "eps": 0, "beta": 1}
    buffer = TaskBuffer(
        12,
        kind=lambda rows, **c: kind(rows, **common, **c),
        shared=True,
        draw_current=True,
        **shape,
    )
    buffer.add(make_rows(0, 12))
    teach(buffer, 1.0 + np.arange(12))  # TD error of row i: i + 1
    buffer.add(make_rows(100, 1, task=1))
    data, _, weight = buffer.sample(3_000)
    old = data["task"] == 0
    times = weight[old] * (data["action"][old] + 1)  # a weight is in proportion to 1 / TD error
    assert len(set(data["action"][old])) == 6
    assert times == pytest.approx(times[0], rel=1e-6)


def test_weights_undo_priorities_within_a_task_but_not_the_tasks_shares(make_rows, shape):
    """Of both tasks, 4 rows each, half of the draws; with beta 1 a task weighs the same in all."""
    common = {"alpha": 1, "eps": 0, "beta": 1}
    buffer = TaskBuffer(
        4, kind=lambda rows, **c: PrioritizedBuffer(rows, **common, **c), draw_current=True, **shape
    )
    buffer.add(make_rows(0, 8, task=np.repeat([0, 1], 4)))
    teach(buffer, [1, 1, 1, 1, 9, 1, 3, 3])
    data, _, weight = buffer.sample(20_000)
    total = [weight[data["task"] == task].sum() for task in (0, 1)]
    assert total[0] == pytest.approx(total[1], rel=0.05)
    assert weight[data["task"] == 0] == pytest.approx(1 / 4)  # N P = 1; of TD error 1, 4 * 1/16


def test_the_parts_of_a_mixture_are_weighed_together(make_rows, shape):
    parts = {
        "plain": ReplayBuffer(3, **shape),
        "by surprise": PrioritizedBuffer(3, alpha=1, eps=0, beta=1, **shape),
    }
    buffer = MixtureBuffer(parts, {"plain": 0.5, "by surprise": 0.5})
    buffer.add(make_rows(0, 3))
    teach(buffer, [0, 0, 0, 1, 3, 4])
    _, index, weight = buffer.sample(400)  # N P = 1; 3/8, 9/8 and 12/8
    for row, expected in {0: 3 / 8, 2: 3 / 8, 4: 3 / 8, 1: 1, 3: 1 / 3, 5: 1 / 4}.items():
        assert weight[index == row] == pytest.approx(expected, rel=1e-6)


def test_a_hybrids_recent_rows_may_be_prioritised(make_rows, shape):
    buffer = HybridBuffer(8, recent_kind=PrioritizedBuffer, **shape)
    buffer.add(make_rows(0, 8))
    teach(buffer.recent, np.eye(8)[3] * 100)
    assert np.mean(buffer.sample(100).data["action"] == 3) > 0.9
    buffer.end_task()
    assert len(buffer.recent) == 0


@pytest.mark.parametrize("memory", ["prioritized", "prioritized_reservoir", "rank"])
def test_any_can_choose_a_tasks_rows_in_a_hybrid(memory, make_rows, shape):
    buffer = HybridBuffer(8, rows_per_task=6, kind=BUFFERS[memory], **shape)
    buffer.add(make_rows(0, 20, task=0))
    buffer.end_task()
    buffer.add(make_rows(20, 8, task=1))
    index = buffer.memory.rows(0)
    teach(buffer, np.where(buffer.rows() // 2 == index[2], 1e3, 1e-3) * (buffer.rows() % 2))
    drawn = buffer.memory.sample(100).index
    assert np.mean(drawn == index[2]) > (0.9 if memory != "rank" else 0.25)


# --- the state -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_after_feedback_the_state_is_whole_and_the_future_is_the_same(
    name, shape, filled, make_rows, assert_equal
):
    original, copy = filled(compositions(shape)[name]), compositions(shape)[name]
    rng = np.random.default_rng(0)
    for first in range(60, 160, 10):
        index = original.sample(9).index
        original.feedback(index, rng.normal(size=9) * 5)
        original.add(make_rows(first, 3, task=1))
    state = original.state_dict()
    others = {k: v for k, v in state.items() if not isinstance(v, np.ndarray)}
    copy.load_state_dict(state | json.loads(json.dumps(others)))
    assert_equal(copy.state_dict(), state)
    for first in range(160, 260, 10):
        a, b, error = original.sample(9), copy.sample(9), rng.normal(size=9) * 5
        assert np.array_equal(a.index, b.index)
        assert np.array_equal(a.weight, b.weight)
        for buffer in (original, copy):
            buffer.feedback(a.index, error)
            buffer.add(make_rows(first, 3, task=2))
    assert_equal(original.state_dict(), copy.state_dict())


SPOILT = {
    "negative priority": ("fifo", {"priority": np.full(16, -1)}),
    "priority too large": ("fifo", {"priority": np.full(16, 2**62)}),
    "priority of another dtype": ("fifo", {"priority": np.ones(16)}),
    "too few priorities": ("reservoir", {"priority": np.ones(15, np.int64)}),
    "largest of 0": ("fifo", {"most": 0.0}),
    "largest of NaN": ("rank", {"most": np.nan}),
    "negative draws": ("fifo", {"times_drawn": -1}),
    "marks of another dtype": ("fifo", {"drawn": np.ones(16)}),
    "a rank twice": ("rank", {"order": np.zeros(16, np.int64)}),
    "a rank too many": ("rank", {"order": np.arange(17)}),
    "ranks as a list": ("rank", {"order": list(range(16))}),
    "NaN surprise": ("rank", {"surprise": np.full(16, np.nan, np.float32)}),
    "changes of another length": ("rank", {"changed": np.ones(3, bool)}),
}


@pytest.mark.parametrize(("name", "wrong"), SPOILT.values(), ids=SPOILT.keys())
def test_a_spoilt_state_is_refused_and_nothing_changes(name, wrong, shape, filled, assert_equal):
    buffer = filled(compositions(shape)[name])
    buffer.sample(30)
    before = buffer.state_dict()
    with pytest.raises(ValueError) as error:
        buffer.load_state_dict(before | wrong)
    assert "\n" not in str(error.value)
    assert_equal(buffer.state_dict(), before)


def test_with_numba_everything_is_the_same(shape, filled, make_rows, monkeypatch, assert_equal):
    pytest.importorskip("numba")
    fast = filled(compositions(shape)["hybrid"])
    monkeypatch.setattr(compiled, "loops", lambda: None)
    plain, rng = filled(compositions(shape)["hybrid"]), np.random.default_rng(0)
    for first in range(60, 1_060):
        samples = [buffer.sample(5) for buffer in (fast, plain)]
        assert np.array_equal(samples[0].index, samples[1].index)
        assert np.array_equal(samples[0].weight, samples[1].weight)
        error, rows = rng.normal(size=5), make_rows(first, 1, task=first // 500)
        for buffer, sample in zip((fast, plain), samples, strict=True):
            buffer.feedback(sample.index, error)
            buffer.add(rows)
    assert_equal(fast.state_dict(), plain.state_dict())
