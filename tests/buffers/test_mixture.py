import pickle
from copy import deepcopy

import numpy as np
import pytest

from buffers import (
    MEMORIES,
    Column,
    HybridBuffer,
    MixtureBuffer,
    ReplayBuffer,
    ReservoirBuffer,
    TaskBuffer,
)
from buffers.deal import DEALS, turns


@pytest.fixture
def parts(shape):
    return {"new": ReplayBuffer(8, **shape), "old": ReservoirBuffer(16, **shape)}


def test_rows_are_dealt_to_the_part_furthest_behind():
    dealt = turns(np.array([0.5, 0.3, 0.2]), 10)
    assert [rows.tolist() for rows in dealt] == [[0, 3, 4, 6, 9], [1, 5, 8], [2, 7]]


def test_shares_need_not_add_up_to_one(parts, make_rows):
    buffer = MixtureBuffer(parts, {"new": 3, "old": 1})
    buffer.add(make_rows(0, 30))
    assert np.bincount(buffer.sample(400).index % 2).tolist() == [300, 100]


def test_a_part_with_nothing_to_draw_leaves_its_share_to_the_others(parts, make_rows):
    buffer = MixtureBuffer(parts, {"new": 0.5, "old": 0.5})
    buffer.add(make_rows(0, 30))
    parts["new"].clear()
    assert set(buffer.sample(50).index % 2) == {1}


def test_samples_of_many_sizes_are_not_all_remembered(parts, make_rows):
    buffer = MixtureBuffer(parts, {"new": 0.5, "old": 0.5})
    buffer.add(make_rows(0, 30))
    for n in (*range(1, 60), 1):
        assert len(buffer.sample(n).index) == n
    assert len(buffer._dealer._deals) <= DEALS


def test_what_cannot_be_drawn_from_says_why_of_every_part(shape, make_rows):
    part = TaskBuffer(8, **shape)
    buffer = MixtureBuffer({"task": part, "more": MixtureBuffer({"a": part}, {"a": 1})},
                           {"task": 1, "more": 1})  # fmt: skip
    buffer.add(make_rows(0, 3))
    with pytest.raises(ValueError, match=r"^no row of an earlier task to sample; .* end_task\(\)$"):
        buffer.sample(2)


@pytest.mark.parametrize(
    "shares",
    [
        *({}, {"new": 1}, {"new": 0, "old": 0}, {"new": 1, "old": -1}, {"new": 1, "x": 1}),
        *({"new": 1, "old": np.nan}, {"new": np.inf, "old": 1}),
    ],
)
def test_unusable_shares_are_refused(parts, shares):
    with pytest.raises(ValueError, match="give each of"):
        MixtureBuffer(parts, shares)


def test_parts_of_other_columns_are_refused(parts):
    parts["other"] = ReplayBuffer(8, state=Column((3,)))
    with pytest.raises(ValueError, match="'other' has other columns"):
        MixtureBuffer(parts, dict.fromkeys(parts, 1))


def test_an_added_row_is_found_in_the_first_part_that_keeps_it(parts, make_rows):
    buffer = MixtureBuffer(parts, {"new": 1, "old": 1})
    index = buffer.add(make_rows(0, 30))
    for i in np.flatnonzero(index >= 0):
        assert buffer.read([index[i]])["action"].tolist() == [i]
    assert (index[22:] % 2 == 0).all()
    assert set(index[:22] % 2) == {1}


@pytest.mark.parametrize("kind", MEMORIES)
def test_every_kind_of_memory_can_be_a_part(kind, make_rows, shape, assert_whole, assert_equal):
    """Half recent rows and half of the other kind, told of errors, saved, and gone on with."""
    common = shape | {"extra": shape["extra"] | {"episode": Column((), np.int64)}}

    def make(seed):
        parts = {
            "recent": ReplayBuffer(6, seed=seed, **common),
            "kept": MEMORIES[kind](12, seed=seed + 1, **common),
        }
        return MixtureBuffer(parts, {"recent": 0.5, "kept": 0.5})

    original, copy = make(1), make(2)
    original.add(make_rows(0, 40))
    copy.load_state_dict(original.state_dict())
    for first in range(40, 100, 10):
        samples = [buffer.sample(10) for buffer in (original, copy)]
        assert_whole(samples[0].data)
        assert_equal(samples[0].data, samples[1].data)
        for buffer in (original, copy):
            buffer.feedback(samples[0].index, samples[0].data["reward"])
            buffer.add(make_rows(first, 10))
    assert_equal(original.state_dict(), copy.state_dict())


@pytest.mark.parametrize("copy", [lambda x: pickle.loads(pickle.dumps(x)), deepcopy])
def test_a_copy_of_a_mixture_that_was_sampled_draws_the_same_rows(
    copy, shape, make_rows, assert_equal
):
    buffer = HybridBuffer(16, clear_at_switch=False, **shape)
    buffer.add(make_rows(0, 12))
    buffer.end_task()
    buffer.sample(6)
    twin = copy(buffer)
    for _ in range(2):
        mine, other = buffer.sample(6), twin.sample(6)
        assert_equal(mine.data, other.data)
        assert_equal(mine.data, buffer.read(mine.index))
