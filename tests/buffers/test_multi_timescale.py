import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, nbinom

from buffers import Column, MultiTimescaleBuffer, TaskBuffer

STATE = {"state": Column()}


def rows_of(first, n):
    i = np.arange(first, first + n)
    return dict.fromkeys(("state", "reward", "next_state"), i) | {"action": i, "done": i < 0}


def actions(buffer, slots):
    return buffer.read(list(slots))["action"].tolist()


class Naive:
    """The cascade, row by row; a row is (number, how many sub-buffers it may enter)."""

    def __init__(self, sizes):
        self.sizes, self.parts, self.overflow = sizes, [[] for _ in sizes], []

    def add(self, row):
        level, moving = 0, row
        while moving:
            self.parts[level].append(moving)
            full = len(self.parts[level]) > self.sizes[level]
            moving, level = (self.parts[level].pop(0) if full else None), level + 1
            if moving and (level == len(self.sizes) or moving[1] <= level):
                self.overflow.append(moving)
                moving = None
        if sum(map(len, self.parts)) + len(self.overflow) > sum(self.sizes):
            self.overflow.pop(0)


@settings(max_examples=40, deadline=None)
@given(
    capacity=st.integers(1, 30),
    num_buffers=st.integers(1, 6),
    beta=st.sampled_from([0, 0.5, 0.85, 0.99]),
    batches=st.lists(st.integers(0, 40), max_size=6),
)
def test_it_holds_what_a_cascade_of_lists_holds(capacity, num_buffers, beta, batches):
    buffer = MultiTimescaleBuffer(capacity, num_buffers=num_buffers, beta=beta, **STATE)
    number = min(num_buffers, capacity)
    naive = Naive([len(part) for part in np.array_split(np.arange(capacity), number)])
    reach, first = np.random.default_rng(0).geometric(1 - beta, size=sum(batches)), 0
    for n in batches:
        buffer.add(rows_of(first, n))
        for row in range(first, first + n):
            naive.add((row, reach[row]))
        first += n
    held = [actions(buffer, part) for part in buffer._cascade()]
    assert held == [[row for row, _ in part] for part in naive.parts]
    assert actions(buffer, buffer._overflow) == [row for row, _ in naive.overflow]
    assert len(buffer) == min(first, capacity)


def survival(age, size, beta):
    """Probability that a row is still in one of three sub-buffers, by hand.

    It is pushed out of the first by the `size`-th row after it. Every row of the stream pushes one
    into the second with probability beta, and into the third with beta^2; the `size`-th of these
    after its own pushes it out.
    """
    if age < size:
        return 1.0
    later = age - size
    second = binom.cdf(size - 1, later, beta)
    left = np.arange(size, later + 1)  # rows of the stream that it stayed in the second
    third = nbinom.pmf(left - size, size, beta) @ binom.cdf(size - 1, later - left, beta**2)
    return beta * (second + beta * third)


def test_rows_survive_as_long_as_the_formula_says():
    runs, size, beta = 1_500, 2, 0.6
    held = np.zeros(120)
    for seed in range(runs):
        buffer = MultiTimescaleBuffer(3 * size, num_buffers=3, beta=beta, seed=seed, **STATE)
        buffer.add(rows_of(0, 120))
        held[buffer.ages()] += 1
    expected = np.array([survival(age, size, beta) for age in range(120)])
    assert expected.sum() == pytest.approx(3 * size)  # no room is wasted
    spread = np.sqrt(runs * expected * (1 - expected))
    assert (np.abs(held - runs * expected) <= 4.5 * spread + 1e-9 + (spread < 1) * 4).all()
    assert held[20:].sum() > 0


def test_survival_falls_as_a_power_of_age():
    """1 / (1 + a (1 - beta) / (S beta)) at the ages at which sub-buffers begin; flat in between."""
    size, beta, looks = 40, 0.75, 60
    buffer = MultiTimescaleBuffer(10 * size, num_buffers=10, beta=beta, **STATE)
    edges = np.array([40, 80, 160, 320, 640, 1280])
    held = np.zeros(len(edges) - 1)
    buffer.add(rows_of(0, 20_000))
    for _ in range(looks):
        buffer.add(rows_of(0, 400))
        held += np.histogram(buffer.ages(), edges)[0] / looks
    ages = np.arange(edges[-1])
    formula = np.histogram(ages, edges, weights=1 / (1 + ages * (1 - beta) / (size * beta)))[0]
    assert ((held / formula > 1) & (held / formula < 1 / beta)).all()
    assert np.ptp(held / formula) < 0.1


def test_a_beta_of_zero_is_a_ring_as_small_as_one_sub_buffer_once_the_rest_fell_out():
    """Nothing goes on: the room of the others holds what was given up, oldest out first."""
    buffer = MultiTimescaleBuffer(6, num_buffers=3, beta=0, **STATE)
    buffer.add(rows_of(0, 20))
    about = buffer.describe()
    assert (about["sub_buffers"], about["overflow"]) == ([2, 0, 0], 4)
    assert sorted(actions(buffer, buffer.rows())) == [14, 15, 16, 17, 18, 19]


def test_shrinking_keeps_the_newest_of_every_sub_buffer():
    buffer = MultiTimescaleBuffer(40, num_buffers=4, beta=0.8, **STATE)
    buffer.add(rows_of(0, 2_000))
    newest = [actions(buffer, part)[-3:] for part in buffer._cascade()]
    buffer.shrink(12)
    assert [actions(buffer, part) for part in buffer._cascade()] == newest
    assert buffer.describe()["overflow"] == 0
    buffer.add(rows_of(2_000, 1))
    assert 2_000 in actions(buffer, buffer.rows())
    assert len(buffer) == 12


@pytest.mark.parametrize("rows", [5, 17, 60])
def test_shrinking_below_the_number_of_sub_buffers_works_at_any_time(rows):
    buffer = MultiTimescaleBuffer(20, num_buffers=7, **STATE)
    buffer.add(rows_of(0, rows))
    for capacity in (18, 6, 2):
        buffer.shrink(capacity)
        assert len(buffer) == min(rows, capacity)
        assert len(set(actions(buffer, buffer.rows()))) == len(buffer)
        rows += 1
        buffer.add(rows_of(100 + rows, 1))


@pytest.mark.parametrize("options", [{"num_buffers": 0}, {"beta": 1}, {"beta": -0.1}])
def test_options_that_make_no_cascade_are_refused(options):
    with pytest.raises(ValueError, match="need >= 1 and 0 to below 1"):
        MultiTimescaleBuffer(10, **options, **STATE)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: {**s, "order": s["order"][1:]},
        lambda s: {**s, "order": np.zeros_like(s["order"])},
        lambda s: {**s, "reach": s["reach"].tolist()},
        lambda s: {**s, "reach": s["reach"] + 4},
        lambda s: {**s, "sub_buffers": [99, *s["sub_buffers"][1:]]},
        lambda s: {**s, "sub_buffers": s["sub_buffers"][1:]},
        lambda s: {**s, "sub_buffers": None},
    ],
)
def test_a_broken_cascade_is_refused(shape, filled, spoil, assert_equal):
    buffer = filled(MultiTimescaleBuffer(16, num_buffers=4, **shape))
    before = buffer.state_dict()
    with pytest.raises(ValueError, match="state"):
        buffer.load_state_dict(spoil(before))
    assert_equal(buffer.state_dict(), before)


def test_each_task_can_have_a_cascade_of_its_own():
    buffer = TaskBuffer(12, kind=MultiTimescaleBuffer, **STATE)
    buffer.add(rows_of(0, 100) | {"task": np.arange(100) % 2})
    for task in (0, 1):
        kept = np.array(actions(buffer, buffer.rows(task)))
        assert len(kept) == 12
        assert (kept % 2 == task).all()
        assert kept.min() < 80  # a ring would hold the newest 12 only, from 76 on
