import numpy as np
import pytest

from buffers.selection import max_coverage
from buffers.selection import points as module

CLUSTER = [[0.0], [0.1], [0.2], [5.0], [9.0]]


def naive(points, k, radius, rng):
    ties, left = rng.random(len(points)), list(range(len(points)))
    while len(left) > k:
        near = [
            sum(np.linalg.norm(points[i] - points[j]) < radius for j in left) + ties[i]
            for i in left
        ]
        left.pop(int(np.argmax(near)))
    return left


@pytest.mark.parametrize("at_once", [80, 1 << 20])
@pytest.mark.parametrize("seed", range(5))
def test_it_drops_the_row_with_most_neighbours_again_and_again(monkeypatch, seed, at_once):
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", at_once)
    points = np.random.default_rng(seed).normal(size=(40, 2))
    expected = naive(points, 15, 0.8, np.random.default_rng(9))
    index = max_coverage(points, 15, radius=0.8, rng=np.random.default_rng(9))
    assert sorted(index.tolist()) == expected


def test_by_hand():
    gain = np.empty(4)
    index = max_coverage(CLUSTER, 4, radius=1, rng=np.random.default_rng(0), gain=gain)
    assert set(index[:2].tolist()) == {3, 4}
    assert gain.tolist() == [0, 0, -1, -1]


def test_among_equals_one_is_dropped_at_random():
    kept = np.zeros(5)
    for seed in range(300):
        kept[max_coverage(CLUSTER, 3, radius=1, rng=np.random.default_rng(seed))] += 1
    assert kept[3:].tolist() == [300, 300]
    assert np.abs(kept[:3] - 100).max() < 4 * np.sqrt(300 * 1 / 3 * 2 / 3)


def test_the_default_radius_is_half_a_deviation_in_every_dimension():
    points = np.random.default_rng(0).normal(size=(60, 3)) * [1, 2, 5]
    radius = np.sqrt(points.var(axis=0).sum()) / 2
    given = max_coverage(points, 20, radius=radius, rng=np.random.default_rng(1))
    assert max_coverage(points, 20, rng=np.random.default_rng(1)).tolist() == given.tolist()
