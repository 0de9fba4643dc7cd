from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chisquare

from buffers import SkipReservoir


def kept_by(buffer):
    return tuple(sorted(buffer.read(buffer.rows())["action"].tolist()))


def assert_all_subsets_equally_often(found, rows, size):
    counts = [found[subset] for subset in combinations(range(rows), size)]
    assert sum(counts) == found.total()
    assert 0.001 < chisquare(counts).pvalue < 0.999


@pytest.mark.parametrize("batches", [(6,), (1, 1, 1, 1, 1, 1), (2, 3, 1), (4, 2)])
def test_every_choice_of_rows_is_equally_likely(make_rows, shape, batches):
    found = Counter()
    for seed in range(2_000):
        buffer, first = SkipReservoir(3, seed=seed, **shape), 0
        for n in batches:
            buffer.add(make_rows(first, n))
            first += n
        found[kept_by(buffer)] += 1
    assert_all_subsets_equally_often(found, 6, 3)


@pytest.mark.parametrize("before", [2, 3, 5])  # it has then room, just none, or skips already
def test_after_shrinking_every_choice_is_still_equally_likely(make_rows, shape, before):
    found = Counter()
    for seed in range(2_500):
        buffer = SkipReservoir(3, seed=seed, **shape)
        buffer.add(make_rows(0, before))
        buffer.shrink(2)
        buffer.add(make_rows(before, 7 - before))
        found[kept_by(buffer)] += 1
    assert_all_subsets_equally_often(found, 7, 2)


def test_a_long_stream_is_kept_evenly(make_rows, shape):
    kept = np.zeros(10)
    for seed in range(60):
        buffer = SkipReservoir(50, seed=seed, **shape)
        for first in range(0, 20_000, 1_000):
            buffer.add(make_rows(first, 1_000))
        kept += np.histogram(kept_by(buffer), 10, (0, 20_000))[0]
    assert 0.001 < chisquare(kept).pvalue < 0.999


def test_rows_that_are_dropped_cost_no_random_number(make_rows, shape):
    """Of 900 batches less than log(1,000 / 100) * 4 rows are kept on average, drawn 4 at once."""
    buffer = SkipReservoir(4, **shape)
    buffer.add(make_rows(0, 100))
    draws = 0
    for first in range(100, 1_000):
        before = buffer.state_dict()["rng"]
        buffer.add(make_rows(first, 1))
        draws += buffer.state_dict()["rng"] != before
    assert 0 < draws < 10


def test_the_next_row_to_keep_may_be_further_away_than_any_stream(make_rows, shape):
    buffer = SkipReservoir(1, **shape)
    buffer.add(make_rows(0, 2))
    buffer._log_w = -700.0  # after some 1e300 rows
    buffer._extend(5)
    assert buffer._next[-1] == 2**62
    buffer.add(make_rows(2, 10))
    assert len(buffer) == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: {**s, "log_w": 1.0},
        lambda s: {**s, "log_w": None},
        lambda s: {**s, "next": s["next"][1:]},
        lambda s: {**s, "next": s["next"][::-1].copy()},
        lambda s: {**s, "next": s["next"] - 60},
        lambda s: {**s, "slot": s["slot"] + 16},
        lambda s: {**s, "slot": s["slot"].tolist()},
    ],
)
def test_a_broken_plan_is_refused(shape, filled, spoil, assert_equal):
    buffer = filled(SkipReservoir(16, **shape))
    before = buffer.state_dict()
    with pytest.raises(ValueError, match="state"):
        buffer.load_state_dict(spoil(before))
    assert_equal(buffer.state_dict(), before)
