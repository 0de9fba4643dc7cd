"""What skipping by keys adds to a reservoir; see test_reservoir.py for what both do."""

from collections import Counter

import pytest

from buffers import SkipReservoir


@pytest.mark.parametrize("before", [2, 3, 5])  # it has then room, just none, or skips already
def test_after_shrinking_every_choice_is_still_equally_likely(
    make_rows, shape, kept_by, assert_all_subsets_equally_often, before
):
    found, first, last = Counter(), make_rows(0, before), make_rows(before, 6 - before)
    for seed in range(1_200):
        buffer = SkipReservoir(3, seed=seed, **shape)
        buffer.add(first)
        buffer.shrink(2)
        buffer.add(last)
        found[kept_by(buffer)] += 1
    assert_all_subsets_equally_often(found, 6, 2)


def test_the_next_row_to_keep_may_be_further_away_than_any_stream(make_rows, shape):
    buffer = SkipReservoir(1, **shape)
    buffer.add(make_rows(0, 2))
    buffer._log_w = -700.0  # after some 1e300 rows
    buffer._plan_to(buffer._plan.end + 1)
    assert buffer._plan.end == 2**62
    buffer.add(make_rows(2, 10))
    assert len(buffer) == 1
