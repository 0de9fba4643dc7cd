import numpy as np
import pytest

from buffers.selection import points as module
from buffers.selection import represented
from buffers.selection.points import Points


def test_distances_are_right_also_far_from_the_origin():
    x = np.random.default_rng(0).normal(size=(30, 5)) + 1000
    expected = np.square(x[:, None] - x).sum(axis=2)
    points = Points(x, 0)
    assert np.allclose(np.stack([points.squared(i) for i in range(30)]), expected, atol=1e-3)


def test_distances_of_near_rows_are_right_and_copies_have_none():
    x = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    x[10:20], x[20:] = x[:10], x[:10] + np.float32(2**-16)
    found = Points(np.float64(x) + 64, 0).distances(3)
    assert found[3] == found[13] == 0
    assert found[23] == pytest.approx(np.sqrt(5) * 2**-16, rel=0.5)
    assert np.allclose(found, np.linalg.norm(x - x[3], axis=1), atol=1e-4)


@pytest.mark.parametrize("at_once", [1, 25, 1 << 20])
def test_every_two_rows_come_once_in_the_order_asked_for(monkeypatch, at_once):
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", at_once)
    x, order = np.arange(10.0)[:, None] ** 2, np.array([3, 1, 7, 9, 0, 2, 8, 5, 6, 4])
    found = np.full((10, 10), np.nan)
    for first, squared in Points(x, 0).pairs(order):
        found[first : first + len(squared), first:] = squared
    upper = np.triu_indices(10)
    expected = np.square(x[order] - x[order].T)
    assert np.allclose(found[upper], expected[upper], atol=1e-2)


@pytest.mark.parametrize("width", [0, 1, 3])
def test_rows_are_of_one_kind_if_they_are_copies(width):
    x = np.random.default_rng(0).normal(size=(6, width))[[0, 1, 0, 2, 2, 0]]
    first, kind = Points(x, 0).distinct()
    assert sorted(first.tolist()) == ([0, 1, 3] if width else [0])
    assert np.array_equal(x[first[kind]], x)


def test_the_two_zeros_are_one():
    assert Points([[0.0, -0.0], [-0.0, 0.0]], 0).distinct()[1].tolist() == [0, 0]


def test_distances_among_some_rows_are_those_among_all():
    points, rows = Points(np.random.default_rng(0).normal(size=(30, 5)), 0), np.array([4, 20, 7])
    some = points.some(rows)
    assert len(some) == 3
    assert np.allclose(some.squared(1), points.squared(20)[rows], atol=1e-5)
    assert np.allclose(some.distances(1), points.distances(20)[rows], atol=1e-5)


@pytest.mark.parametrize("at_once", [1, 7, 1 << 20])
def test_a_few_rows_at_a_time_are_all_rows(monkeypatch, at_once):
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", at_once)
    points, rows = Points(np.arange(10.0)[:, None], 0), np.array([7, 2, 5])
    found = np.full((3, 2), np.nan)
    for part, squared in points.blocks(rows, np.array([0, 9])):
        found[part] = squared
    assert np.allclose(found, [[49, 4], [4, 49], [25, 16]], atol=1e-4)


def test_every_row_counts_for_its_nearest_chosen_one():
    x = np.array([[0.0], [1.0], [2.0], [10.0], [13.0]])
    assert represented(x, np.array([3, 1])).tolist() == [2, 3]
    assert represented(x, np.array([3, 1]), [5, 1, 1, 1, 20]).tolist() == [21, 7]
