from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chisquare

from buffers import ReservoirBuffer


def kept_by(buffer):
    return tuple(sorted(buffer.read(buffer.rows())["action"].tolist()))


@pytest.mark.parametrize("batches", [(7,), (1,) * 7, (2, 4, 1)])
def test_every_choice_of_rows_is_equally_likely(make_rows, shape, batches):
    found = Counter()
    for seed in range(2_000):
        buffer, first = ReservoirBuffer(3, seed=seed, **shape), 0
        for n in batches:
            buffer.add(make_rows(first, n))
            first += n
        found[kept_by(buffer)] += 1
    counts = [found[subset] for subset in combinations(range(7), 3)]
    assert sum(counts) == found.total()
    assert 0.001 < chisquare(counts).pvalue < 0.999


def test_a_stream_of_many_plans_is_kept_evenly(make_rows, shape):
    kept = np.zeros(10)
    for seed in range(60):
        buffer = ReservoirBuffer(50, seed=seed, **shape)
        for first in range(0, 10_000, 1_000):
            buffer.add(make_rows(first, 1_000))
        kept += np.histogram(kept_by(buffer), 10, (0, 10_000))[0]
    assert 0.001 < chisquare(kept).pvalue < 0.999


def test_rows_that_are_dropped_cost_no_random_number(make_rows, shape):
    buffer = ReservoirBuffer(4, **shape)
    buffer.add(make_rows(0, 100))
    draws = 0
    for first in range(100, 600):
        before = buffer.state_dict()["rng"]
        buffer.add(make_rows(first, 1))
        draws += buffer.state_dict()["rng"] != before
    assert 0 < draws < 15


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: {**s, "next": s["next"][1:]},
        lambda s: {**s, "next": s["next"] - 60},
        lambda s: {**s, "slot": s["slot"] + 17},
        lambda s: {**s, "slot": s["slot"] - 17},
    ],
)
def test_a_broken_plan_is_refused(shape, filled, spoil, assert_equal):
    buffer = filled(ReservoirBuffer(16, **shape))
    before = buffer.state_dict()
    with pytest.raises(ValueError, match="state"):
        buffer.load_state_dict(spoil(before))
    assert_equal(buffer.state_dict(), before)
