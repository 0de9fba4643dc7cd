import numpy as np
import pytest

from buffers.selection import cover as module
from buffers.selection.cover import Cover
from buffers.selection.neighbours import Neighbours
from buffers.selection.points import Points


def covered(rows, seed):
    """Points, weights, all distances, and a Cover of which the first row is chosen."""
    rng = np.random.default_rng(seed)
    points, weights = rng.normal(size=(rows, 2)), rng.integers(1, 9, size=rows)
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    distance = apart[0].astype(np.float32)
    neighbours = Neighbours(Points(points, 0), distance)
    return weights, apart, Cover(neighbours, weights, distance, np.array([0]))


def gains(weights, apart, chosen):
    left = apart[:, chosen].min(axis=1)
    gain = weights @ np.maximum(left[:, None] - apart, 0)
    gain[chosen] = -np.inf
    return gain


@pytest.mark.parametrize("pool", [3, 40, 1_000])
def test_all_gains_are_known_after_every_choice(monkeypatch, pool):
    monkeypatch.setattr(module, "POOL", pool)
    weights, apart, cover = covered(60, 0)
    chosen, sizes = [0], []
    while len(chosen) < 60:
        before = gains(weights, apart, chosen)
        rows, worth = cover.choose(60 - len(chosen))
        assert worth[0] == pytest.approx(before.max(), abs=0.05)  # a root of float32's rounding
        chosen.extend(rows.tolist()), sizes.append(len(rows))
        assert np.allclose(cover.gain, gains(weights, apart, chosen), atol=0.05)
    assert sorted(chosen) == list(range(60))
    assert max(sizes) > 1


@pytest.mark.parametrize("seed", range(5))
def test_many_at_a_time_are_those_that_would_come_one_by_one(seed):
    (*_, many), (*_, single) = covered(80, seed), covered(80, seed)
    at_a_time, one_by_one, worth, own = [], [], [], []
    while len(at_a_time) < 40:
        rows, gain = many.choose(40 - len(at_a_time))
        at_a_time.extend(rows.tolist()), worth.extend(gain)
    for _ in range(40):
        rows, gain = single.choose(1)
        one_by_one.extend(rows.tolist()), own.extend(gain)
    assert at_a_time == one_by_one
    assert np.allclose(worth, own)


def test_at_most_so_many_are_chosen():
    *_, cover = covered(80, 0)
    for most in (1, 2, 5):
        assert 1 <= len(cover.choose(most)[0]) <= most
