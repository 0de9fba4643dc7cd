from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buffers.selection import k_center


def radius(points, centres):
    return np.linalg.norm(points[:, None] - points[list(centres)], axis=2).min(axis=1).max()


def test_by_hand():
    gain = np.empty(4)
    # The mean is 6.8, nearest to 10; farthest from 10 is 0, then 12 from 10.
    index = k_center([[0.0], [1.0], [10.0], [11.0], [12.0]], 4, gain=gain)
    assert index[:3].tolist() == [2, 0, 4]
    assert index[3] in (1, 3)
    assert np.allclose(gain, [10, 10, 2, 1], atol=1e-5)


def naive(points, k):
    """The row nearest to the mean, then always the one farthest from all chosen."""
    chosen = [int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmin())]
    while len(chosen) < k:
        apart = np.linalg.norm(points[:, None] - points[chosen], axis=2).min(axis=1)
        chosen.append(int(apart.argmax()))
    return chosen


@pytest.mark.parametrize("k", [1, 11, 60, 80])
def test_it_chooses_what_the_plain_rule_does(k):
    points = np.random.default_rng(0).normal(size=(80, 4))
    assert k_center(points, k).tolist() == naive(points, k)


grid = st.lists(st.tuples(*[st.integers(-9, 9)] * 2), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(grid, st.integers(1, 4))
def test_no_choice_has_less_than_half_its_radius(points, k):
    points, k = np.array(points, float), min(k, len(points))
    best = min(radius(points, centres) for centres in combinations(range(len(points)), k))
    assert radius(points, k_center(points, k)) <= 2 * best + 1e-4


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(0)
    points, order = rng.normal(size=(60, 4)), rng.permutation(60)
    assert order[k_center(points[order], 20)].tolist() == k_center(points, 20).tolist()


def test_copies_come_last_and_do_not_change_the_choice():
    points = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    # As many copies of each, so that the mean stays where it is.
    index = k_center(np.tile(points, (5, 1)), 30)
    assert set(index[:12] % 12) == set(range(12))
    assert (index[:12] % 12).tolist() == k_center(points, 12).tolist()


def test_distances_never_grow():
    gain = np.empty(50)
    points = np.random.default_rng(0).normal(size=(50, 3))
    index = k_center(points, 50, gain=gain)
    assert (np.diff(gain) <= 0).all()
    before = [points[index[i]] - points[index[:i]] for i in range(1, 50)]
    nearest = [np.linalg.norm(apart, axis=1).min() for apart in before]
    assert np.allclose(gain[1:], nearest, atol=1e-4)
