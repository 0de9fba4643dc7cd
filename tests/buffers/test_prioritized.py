"""What prioritised buffers draw and weigh, and what feedback changes."""

import json

import numpy as np
import pytest
from scipy.stats import chisquare

from buffers import (
    BUFFERS,
    Buffer,
    HybridBuffer,
    MixtureBuffer,
    PrioritizedBuffer,
    PrioritizedReservoir,
    RankBuffer,
    ReplayBuffer,
    TaskBuffer,
)
from buffers.prioritized import dealt

KINDS = [PrioritizedBuffer, PrioritizedReservoir, RankBuffer]


@pytest.fixture
def taught(make_rows, shape):
    """A full buffer whose every row was drawn and got a TD error."""

    def build(kind, td_error, **options):
        buffer = kind(len(td_error), **shape, **options)
        buffer.add(make_rows(0, len(td_error)))
        teach(buffer, td_error)
        return buffer

    return build


def teach(buffer, td_error) -> None:
    """Let all rows that can be drawn be drawn, then tell the TD errors of all rows."""
    buffer.sample(40 * len(buffer))
    buffer.feedback(buffer.rows(), td_error)


def probability(kind, td_error, alpha=1.0) -> np.ndarray:
    """What each row's share of the draws should be."""
    size = np.abs(td_error) + 1e-6
    if kind is RankBuffer:
        size = 1 / (1 + np.argsort(np.argsort(-size, kind="stable")))
    return size**alpha / (size**alpha).sum()


def counts_of(buffer, draws: int, each: int = 1) -> np.ndarray:
    drawn = [buffer.sample(each).index for _ in range(draws)]
    return np.bincount(np.concatenate(drawn), minlength=buffer.capacity)


TD_ERROR = np.array([3, -0.5, 0.1, 8, -1, 0.2, 5, 0])


# --- what is drawn -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha", [0.5, 1])
def test_rows_are_drawn_with_their_probabilities(taught, kind, alpha):
    counts = counts_of(taught(kind, TD_ERROR, alpha=alpha), 4_000)
    expected = 4_000 * probability(kind, TD_ERROR, alpha)
    often = expected > 5
    assert (
        chisquare(counts[often], expected[often] * counts[often].sum() / expected[often].sum())[1]
        > 1e-3
    )
    assert abs(counts[~often].sum() - expected[~often].sum()) < 10


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_has_of_each_row_what_its_probability_says(taught, kind):
    """Independent draws would be off by 10 and more."""
    counts = counts_of(taught(kind, TD_ERROR, alpha=1), 1, each=1_000)
    assert np.abs(counts - 1_000 * probability(kind, TD_ERROR)).max() <= 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_minibatch_cut_from_a_sample_is_a_fair_one(taught, kind):
    """Also a first draw, or a last, alone."""
    buffer = taught(kind, TD_ERROR, alpha=1)
    expected = probability(kind, TD_ERROR)
    drawn = buffer.sample(512).index.reshape(4, 128)
    for minibatch in drawn:
        counts = np.bincount(minibatch, minlength=8)
        assert np.abs(counts - 128 * expected).max() <= 5
    first = np.bincount([buffer.sample(64).index[0] for _ in range(2_000)], minlength=8)
    often = expected > 0.005
    expected = expected[often] / expected[often].sum()
    assert chisquare(first[often], expected * first[often].sum()).pvalue > 1e-3


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10, 12, 64, 255, 256, 1024])
def test_parts_are_dealt_once_each_and_any_run_is_spread(n):
    order = dealt(n)
    assert np.array_equal(order[:n], order[n:])
    assert np.array_equal(np.sort(order[:n]), np.arange(n))
    for first in range(0, n, 7):  # 16 of n: no gap above three times the even one
        run = np.sort(order[first : first + 16]) if n >= 64 else np.empty(0)
        assert (np.diff(run, append=run[:1] + n) <= 3 * n / 16).all()


@pytest.mark.parametrize("kind", KINDS)
def test_alpha_0_draws_uniformly_and_weighs_alike(taught, kind):
    buffer = taught(kind, TD_ERROR, alpha=0)
    assert chisquare(counts_of(buffer, 3_000)).pvalue > 1e-3
    assert buffer.sample(50).weight.tolist() == [1] * 50


@pytest.mark.parametrize("kind", [PrioritizedBuffer, PrioritizedReservoir])
def test_rows_without_any_error_are_drawn_uniformly_if_there_are_no_others(taught, kind):
    buffer = taught(kind, np.zeros(8), eps=0)
    assert chisquare(counts_of(buffer, 3_000)).pvalue > 1e-3
    assert buffer.sample(50).weight.tolist() == [1] * 50
    buffer.feedback([3], [1e-30])
    assert set(buffer.sample(50).index.tolist()) == {3}


@pytest.mark.parametrize("kind", KINDS)
def test_feedback_changes_what_is_drawn(taught, kind):
    buffer = taught(kind, np.ones(8), alpha=3)
    buffer.feedback(buffer.rows(), np.eye(8)[5] * 100)
    assert counts_of(buffer, 1, each=100)[5] > 80
    buffer.feedback(buffer.rows(), np.eye(8)[2] * 100)
    assert counts_of(buffer, 1, each=100)[2] > 80


def test_a_new_row_counts_as_much_as_the_most_surprising_so_far(taught, make_rows):
    buffer = taught(PrioritizedBuffer, np.array([1, 7, 2, 3]), alpha=1, eps=0)
    buffer.feedback([1], [0.5])
    (slot,) = buffer.add(make_rows(4, 1))  # in place of the first
    counts = counts_of(buffer, 1, each=1_250)
    assert slot == 0
    assert np.abs(counts - 100 * np.array([7, 0.5, 2, 3])).max() <= 2


def test_a_new_row_has_the_first_rank_at_the_next_sort(taught, make_rows):
    buffer = taught(RankBuffer, np.array([1, 7, 2, 3]), alpha=1)
    buffer.feedback([1], [0.5])
    buffer.add(make_rows(4, 1))
    counts = counts_of(buffer, 1, each=2_500)  # ranks 1, 4, 3, 2
    assert np.abs(counts - 1_200 * np.array([1, 1 / 4, 1 / 3, 1 / 2])).max() <= 2


def test_ranks_stay_until_a_tenth_of_the_rows_have_changed(taught):
    buffer = taught(RankBuffer, np.arange(100.0, 0, -1), alpha=1)
    expected = 1_000 / (1 + np.arange(100)) / (1 / np.arange(1.0, 101)).sum()
    last_nine = np.arange(91, 100)
    buffer.sample(1)
    for _ in range(2):
        buffer.feedback(last_nine, np.full(9, 1e3))
    assert np.abs(counts_of(buffer, 1, each=1_000) - expected).max() <= 2
    buffer.feedback([0], [0])
    counts = counts_of(buffer, 1, each=1_000)
    assert np.abs(counts[last_nine] - expected[:9]).max() <= 2
    assert abs(counts[0] - expected[99]) <= 2


# --- weights -------------------------------------------------------------------------------------


def test_the_weights_of_three_rows_by_hand(taught):
    """P = 1/8, 3/8, 4/8; N P = 3/8, 9/8, 12/8; the largest weight is that of the first row."""
    buffer = taught(PrioritizedBuffer, np.array([1, -3, 4]), alpha=1, eps=0, beta=0.5, anneal=10**9)
    _, index, weight = buffer.sample(200)
    for slot, expected in enumerate([1, (1 / 3) ** 0.5, (1 / 4) ** 0.5]):
        assert weight[index == slot] == pytest.approx(expected, rel=1e-6)


def test_the_weights_of_three_ranks_by_hand(taught):
    """P = 6/11, 3/11, 2/11 by rank; weights relative to the last."""
    buffer = taught(RankBuffer, np.array([1, -4, 3]), alpha=1, beta=1)
    _, index, weight = buffer.sample(200)
    for slot, expected in enumerate([1, 2 / 6, 2 / 3]):
        assert weight[index == slot] == pytest.approx(expected, rel=1e-6)


def test_the_largest_weight_is_that_of_the_sample(taught):
    buffer = taught(PrioritizedBuffer, np.array([1e-9] + [1] * 7), alpha=1, eps=0)
    sample = buffer.sample(20)
    assert 0 not in sample.index
    assert sample.weight.tolist() == [1] * 20


@pytest.mark.parametrize("kind", KINDS)
def test_beta_rises_with_the_rows_drawn_and_goes_on_after_loading(make_rows, shape, kind):
    buffer, copy = (kind(8, beta=0.4, anneal=600, **shape) for _ in range(2))
    buffer.add(make_rows(0, 8))
    assert buffer.beta == pytest.approx(0.4)
    buffer.sample(300)
    assert buffer.beta == pytest.approx(0.7)
    copy.load_state_dict(buffer.state_dict())
    copy.sample(150)
    assert copy.beta == pytest.approx(0.85)
    copy.sample(1_000)
    assert copy.beta == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_mean_weighed_with_beta_1_is_that_of_uniform_draws(taught, kind):
    buffer = taught(kind, TD_ERROR, alpha=0.5, beta=1)
    _, index, weight = buffer.sample(20_000)
    assert np.average(TD_ERROR[index], weights=weight) == pytest.approx(TD_ERROR.mean(), rel=0.02)


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


def test_a_row_that_took_the_place_of_one_drawn_is_not_given_its_error(taught, make_rows):
    buffer = taught(PrioritizedBuffer, np.ones(4), alpha=1, eps=0)
    buffer.add(make_rows(4, 2))
    buffer.feedback(np.arange(4), [50, 60, 3, 4])
    counts = counts_of(buffer, 1, each=900)
    assert np.abs(counts - 100 * np.array([1, 1, 3, 4])).max() <= 2


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


def test_ranks_move_along_when_a_buffer_shrinks(taught, make_rows):
    """And the ring goes on where it was: the oldest row is the next to go."""
    buffer = taught(RankBuffer, np.ones(6), alpha=1)
    slots = buffer.add(make_rows(6, 4))  # rows 4 to 9 are held
    buffer.sample(200)
    buffer.feedback(slots[1:], [7, 9, 8])
    buffer.shrink(3)
    expected = 1_000 * np.array([2, 6, 3]) / 11  # of ranks 3, 1, 2
    counts = np.bincount(buffer.sample(1_000).data["action"], minlength=10)[7:]
    assert np.abs(counts - expected).max() <= 2
    buffer.add(make_rows(10, 1))
    assert sorted(buffer.read(buffer.rows())["action"]) == [8, 9, 10]


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


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": -1},
        {"alpha": np.nan},
        {"eps": -1e-9},
        {"eps": np.inf},
        {"beta": 1.1},
        {"anneal": 0},
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_options_out_of_range_are_refused(kind, options, shape):
    with pytest.raises(ValueError, match=f"{next(iter(options))} "):
        kind(8, **shape, **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha", [1e-3, 0.6, 5])
def test_the_largest_and_smallest_errors_are_taken(taught, kind, alpha):
    errors = np.array([1e308, 1e-300, 0, -1e308, 1, 1e10, 1e-10, 5])
    buffer = taught(kind, errors, alpha=alpha)
    sample = buffer.sample(100)
    assert 0 in sample.index
    assert np.isfinite(sample.weight).all()
    assert (sample.weight > 0).all()


def test_what_priorities_take_is_counted(shape, make_rows):
    plain = ReplayBuffer(1_000, **shape).nbytes
    assert plain + 1_000 * 9 <= PrioritizedBuffer(1_000, **shape).nbytes <= plain + 1_000 * 11
    tasks = TaskBuffer(1_000, kind=PrioritizedBuffer, **shape)
    tasks.add(make_rows(0, 2, task=np.arange(2)))
    assert tasks.nbytes >= 2 * (plain + 1_000 * 9)


def test_every_one_of_them_goes_with_its_rule_of_admission(make_rows, shape):
    """What is kept does not depend on what is drawn or told."""
    for kind in KINDS:
        plain: Buffer = kind.__mro__[2 if kind is not RankBuffer else 3](8, **shape, seed=3)
        ours = kind(8, **shape, seed=3)
        slots = [buffer.add(make_rows(0, 40)) for buffer in (plain, ours)]
        assert np.array_equal(*slots)
