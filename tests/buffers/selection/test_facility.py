from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from buffers.selection import facility_location

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
