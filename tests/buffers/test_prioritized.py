"""What prioritised buffers draw and weigh, and what feedback changes."""

import numpy as np
import pytest
from scipy.stats import chisquare

from buffers import (
    Buffer,
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
def test_a_memory_that_is_told_of_no_error_says_so(kind, make_rows, shape):
    buffer = kind(4, **shape)
    assert buffer.idle() is None
    buffer.add(make_rows(0, 4))
    assert "fit into 4" in buffer.idle()
    buffer.add(make_rows(4, 4))
    buffer.sample(40)
    assert "no TD error was told" in buffer.idle()
    buffer.feedback(buffer.rows(), [1, 2, 3, 4])
    assert buffer.idle() is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_memory_that_heeds_errors_is_not_idle_while_it_has_room(kind, make_rows, shape):
    buffer = kind(8, **shape)
    buffer.add(make_rows(0, 4))
    buffer.sample(40)
    buffer.feedback(buffer.rows(), [1, 2, 3, 4])
    assert buffer.idle() is None


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


def test_a_row_that_took_the_place_of_one_drawn_is_not_given_its_error(taught, make_rows):
    buffer = taught(PrioritizedBuffer, np.ones(4), alpha=1, eps=0)
    buffer.add(make_rows(4, 2))
    buffer.feedback(np.arange(4), [50, 60, 3, 4])
    counts = counts_of(buffer, 1, each=900)
    assert np.abs(counts - 100 * np.array([1, 1, 3, 4])).max() <= 2


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
    error = TD_ERROR[:7]  # without 0, which is drawn too seldom for a mean
    buffer = taught(kind, error, alpha=0.5, beta=1)
    _, index, weight = buffer.sample(20_000)
    assert np.average(error[index], weights=weight) == pytest.approx(error.mean(), rel=0.02)


# --- options and size ---------------------------------------------------------------------------


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
