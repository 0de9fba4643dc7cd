from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buffers.selection import facility_location
from buffers.selection.facility import _drawn

points_and_weights = st.lists(
    st.tuples(st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 5)), min_size=1, max_size=8
)


def worth(points, weight, chosen):
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    nearest = apart[:, list(chosen)].min(axis=1, initial=apart.max())
    return weight @ (apart.max() - nearest)


@settings(max_examples=60, deadline=None)
@given(points_and_weights, st.integers(1, 4))
def test_no_choice_is_worth_much_more(rows, k):
    points, weight, k = np.array(rows, float)[:, :2], np.array(rows)[:, 2], min(k, len(rows))
    best = max(worth(points, weight, c) for c in combinations(range(len(points)), k))
    chosen = facility_location(points, k, weight=weight)
    assert worth(points, weight, chosen) >= (1 - 1 / np.e) * best - 1e-3


def test_every_choice_is_the_best_next_one_and_its_gain_is_what_it_adds():
    rng = np.random.default_rng(0)
    points, weight, gain = rng.normal(size=(30, 3)), rng.integers(1, 9, size=30), np.empty(20)
    index = facility_location(points, 20, weight=weight, gain=gain)
    for i in range(20):
        before = worth(points, weight, index[:i])
        adds = [worth(points, weight, [*index[:i], j]) - before for j in range(30)]
        assert np.isclose(gain[i], max(adds), atol=0.02)  # a root of float32's rounding
        assert np.isclose(adds[index[i]], max(adds), atol=0.02)


def test_by_hand():
    gain = np.empty(2)
    # Without any each of the 5 pays 10. From 1 they pay 1, 0, 1, 8, 9; 9 then saves 8 and 8.
    assert facility_location([[0.0], [1], [2], [9], [10]], 2, gain=gain)[0] in (1, 2)
    assert np.allclose(gain.sum(), 50 - 4, atol=1e-4) or np.allclose(gain.sum(), 50 - 3, atol=1e-4)


def test_copies_are_given_up_first():
    points = np.random.default_rng(0).normal(size=(10, 3))
    index = facility_location(np.tile(points, (4, 1)), 10)
    assert set(index % 10) == set(range(10))
    gain = np.empty(25)
    index = facility_location(np.tile(points, (4, 1)), 25, gain=gain)
    assert len(set(index.tolist())) == 25
    assert set(index[:10] % 10) == set(range(10))
    assert (gain[:10] > 0).all()
    assert not gain[10:].any()


def greedy(points, weight, k):
    """What each choice adds if the best next row is chosen every time, whatever it costs."""
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    left, gain = np.full(len(points), apart.max()), []
    for _ in range(k):
        adds = weight @ np.maximum(left[:, None] - apart, 0)
        gain.append(adds.max())
        left = np.minimum(left, apart[adds.argmax()])
    return np.array(gain)


@pytest.mark.parametrize("rows", [np.arange(300), np.arange(300) % 40])
def test_of_many_rows_every_choice_is_the_best_next_one(rows):
    rng = np.random.default_rng(1)
    points, weight, gain = (
        rng.normal(size=(300, 3))[rows],
        rng.integers(1, 9, size=300),
        np.empty(200),
    )
    facility_location(points, 200, weight=weight, gain=gain, sample=300)
    assert np.allclose(gain, greedy(points, weight, 200), atol=0.05)


def test_by_a_sample_the_first_choices_are_nearly_as_good_and_all_of_them_as_good():
    rng = np.random.default_rng(0)
    points, weight = rng.normal(size=(1_000, 4)), np.ceil(rng.pareto(1, size=1_000))
    gain, exact = np.empty(750), np.empty(750)
    index = facility_location(points, 750, weight=weight, gain=gain, sample=200)
    facility_location(points, 750, weight=weight, gain=exact, sample=1_000)
    assert not np.allclose(gain[:15], exact[:15], rtol=1e-3)
    assert gain[:15].sum() > 0.95 * exact[:15].sum()
    assert gain.sum() > 0.999 * exact.sum()
    for k in (1, 15, 16, 750):
        assert gain[:k].sum() == pytest.approx(worth(points, weight, index[:k]), rel=1e-4)


def test_a_row_is_in_the_sample_as_often_as_its_weight_says():
    weights = np.random.default_rng(0).pareto(1, size=500)
    rows, count = _drawn(weights, 100)
    assert count.sum() == 100
    drawn = np.bincount(rows, count, 500)
    assert (np.abs(drawn - 100 * weights / weights.sum()) < 1 + 1e-9).all()


def test_of_few_rows_all_are_in_the_sample():
    rows, count = _drawn(np.arange(5.0), 5)
    assert rows.tolist() == count.tolist() == [0, 1, 2, 3, 4]
