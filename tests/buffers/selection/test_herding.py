import numpy as np
import pytest

from buffers.selection import herding


def naive(points, k, mean):
    """iCaRL's algorithm 4, as it is written, but that a row is chosen once only."""
    chosen = []
    for i in range(1, k + 1):
        apart = [
            np.linalg.norm(mean - (x + points[chosen].sum(axis=0)) / i)
            if j not in chosen
            else np.inf
            for j, x in enumerate(points)
        ]
        chosen.append(int(np.argmin(apart)))
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_it_does_what_the_paper_says(seed):
    rng = np.random.default_rng(seed)
    points, weight = rng.normal(size=(30, 3)), rng.integers(1, 9, size=30)
    mean = np.average(points, axis=0, weights=weight)
    assert herding(points, 15, weight=weight).tolist() == naive(points, 15, mean)
    assert herding(points, 15).tolist() == naive(points, 15, points.mean(axis=0))
    assert herding(points, 30).tolist() == naive(points, 30, points.mean(axis=0))


def test_by_hand():
    gain = np.empty(3)
    # The mean is 4. Nearest is 3, then 5 makes (3 + 5) / 2 = 4, then 1 makes 3 and 11 makes 19 / 3.
    assert herding([[1.0], [3.0], [5.0], [11.0], [0.0]], 3, gain=gain).tolist() == [1, 2, 0]
    assert np.allclose(gain, [-1, 0, -1], atol=1e-5)


def test_the_mean_of_the_chosen_is_nearer_than_that_of_as_many_drawn_at_random():
    rng = np.random.default_rng(0)
    points = rng.exponential(size=(500, 4))
    drawn = [points[rng.choice(500, 50, replace=False)].mean(axis=0) for _ in range(50)]
    apart = np.linalg.norm(np.array(drawn) - points.mean(axis=0), axis=1)
    chosen = points[herding(points, 50)].mean(axis=0)
    assert np.linalg.norm(chosen - points.mean(axis=0)) < apart.min() / 5
