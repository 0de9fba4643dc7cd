import numpy as np
import pytest

from buffers.selection import points as module
from buffers.selection.neighbours import Neighbours
from buffers.selection.points import Points


@pytest.mark.parametrize("at_once", [1, 100, 1 << 20])
def test_neighbours_are_the_pairs_within_the_reach_of_either(monkeypatch, at_once):
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    x, reach = rng.normal(size=(25, 3)), rng.exponential(size=25).astype(np.float32)
    reach[:5] = 0
    near = Neighbours(Points(x, 0), reach)
    apart = np.linalg.norm(x[:, None] - x, axis=2)
    rows = np.array([7, 0, 24, 3, 7])
    whose, other, distance = near.of(rows)
    for i, row in enumerate(rows):
        expected = np.flatnonzero(apart[row] < np.maximum(reach[row], reach))
        own = other[whose == i]
        assert sorted(own.tolist()) == expected.tolist()
        assert np.allclose(distance[whose == i], apart[row, own], atol=1e-3)
    assert len(near) == len(near.of(np.arange(25))[0])
    assert near.farthest == pytest.approx(apart.max(), rel=1e-5)


def test_a_row_is_its_own_neighbour_at_no_distance_if_it_reaches_anywhere():
    near = Neighbours(
        Points(np.random.default_rng(0).normal(size=(3, 2)), 0), np.float32([0, 1, 0])
    )
    whose, other, distance = near.of(np.arange(3))
    own = whose == other
    assert whose[own].tolist() == [1]
    assert distance[own].tolist() == [0]


def test_of_no_rows_there_are_no_neighbours():
    near = Neighbours(Points(np.zeros((4, 2)), 0), np.zeros(4, np.float32))
    assert len(near) == 0
    assert [len(values) for values in near.of(np.arange(4))] == [0, 0, 0]
    assert [len(values) for values in near.of(np.arange(0))] == [0, 0, 0]
