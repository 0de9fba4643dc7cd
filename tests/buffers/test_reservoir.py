"""What both reservoirs, which plan ahead, have in common; `test_skip_reservoir` has the rest."""

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from buffers import ReservoirBuffer, SkipReservoir

BATCHES = {
    ReservoirBuffer: [(7,), (1,) * 7, (2, 4, 1)],
    SkipReservoir: [(6,), (1,) * 6, (2, 3, 1), (4, 2)],
}


@pytest.mark.parametrize(
    ("kind", "batches"), [(kind, each) for kind, all_ in BATCHES.items() for each in all_]
)
def test_every_choice_of_rows_is_equally_likely(
    make_rows, shape, kept_by, assert_all_subsets_equally_often, kind, batches
):
    found, buffer = Counter(), kind(3, **shape)
    ends = np.cumsum(batches).tolist()
    rows = [make_rows(end - n, n) for end, n in zip(ends, batches, strict=True)]
    for _ in range(1_200):  # a new buffer each time would take thrice as long
        for batch in rows:
            buffer.add(batch)
        found[kept_by(buffer)] += 1
        buffer.clear()
    assert_all_subsets_equally_often(found, ends[-1], 3)


@pytest.mark.parametrize(("kind", "rows"), [(ReservoirBuffer, 10_000), (SkipReservoir, 20_000)])
def test_a_stream_of_many_plans_is_kept_evenly(make_rows, shape, kept_by, kind, rows):
    kept = np.zeros(10)
    for seed in range(60):
        buffer = kind(50, seed=seed, **shape)
        for first in range(0, rows, 1_000):
            buffer.add(make_rows(first, 1_000))
        kept += np.histogram(kept_by(buffer), 10, (0, rows))[0]
    assert 0.001 < chisquare(kept).pvalue < 0.999


@pytest.mark.parametrize("kind", [ReservoirBuffer, SkipReservoir])
@pytest.mark.parametrize("rows", [4, 5])  # as many as there are slots, and one more
@pytest.mark.parametrize("planned", [True, False])
def test_no_rows_have_no_slots(make_rows, shape, kind, rows, planned):
    buffer = kind(4, **shape)
    buffer.add(make_rows(0, rows))
    if not planned:
        buffer.shrink(4)
    slots = buffer.add(make_rows(rows, 0))
    assert slots.dtype == np.int64
    assert not slots.size
    assert buffer.seen == rows


def test_a_batch_is_dropped_if_a_new_plan_begins_beyond_it(make_rows, shape, tmp_path):
    buffer = ReservoirBuffer(1, storage="memmap", path=tmp_path / "rows", **shape)
    kept = 0  # a memory of one row plans one row ahead
    for first in range(0, 300, 3):
        slots = buffer.add(make_rows(first, 3))
        kept += int((slots >= 0).sum())
        assert slots.dtype == np.int64
    assert 0 < kept < 50


@pytest.mark.parametrize(
    ("kind", "rows", "most"),
    [
        (ReservoirBuffer, 600, 15),
        # Of 900 batches less than log(1,000 / 100) * 4 rows are kept on average, drawn 4 at once.
        (SkipReservoir, 1_000, 10),
    ],
)
def test_rows_that_are_dropped_cost_no_random_number(make_rows, shape, kind, rows, most):
    buffer = kind(4, **shape)
    buffer.add(make_rows(0, 100))
    draws = 0
    for first in range(100, rows):
        before = buffer.state_dict()["rng"]
        buffer.add(make_rows(first, 1))
        draws += buffer.state_dict()["rng"] != before
    assert 0 < draws < most


BROKEN = [
    lambda s: {**s, "next": s["next"][1:]},
    lambda s: {**s, "next": s["next"][::-1].copy()},
    lambda s: {**s, "next": s["next"] - 60},
    lambda s: {**s, "slot": s["slot"] + 17},
    lambda s: {**s, "slot": s["slot"] - 17},
    lambda s: {**s, "slot": s["slot"].tolist()},
]
BROKEN_KEYS = [
    lambda s: {**s, "log_w": 1.0},
    lambda s: {**s, "log_w": None},
    lambda s: {**s, "slot": s["slot"] + 16},  # none of its slots is -1
]


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        *((kind, spoil) for kind in BATCHES for spoil in BROKEN),
        *((SkipReservoir, spoil) for spoil in BROKEN_KEYS),
    ],
)
def test_a_broken_plan_is_refused(shape, filled, kind, spoil, assert_equal):
    buffer = filled(kind(16, **shape))
    before = buffer.state_dict()
    with pytest.raises(ValueError, match="state"):
        buffer.load_state_dict(spoil(before))
    assert_equal(buffer.state_dict(), before)
