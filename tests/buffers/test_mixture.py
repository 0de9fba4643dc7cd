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


@pytest.mark.parametrize(("n", "share"), [(4, 0.1), (32, 0.01), (7, 0.5), (3, 1 / 3), (10, 0.3)])
def test_over_many_samples_every_part_has_its_share(parts, make_rows, n, share):
    buffer = MixtureBuffer(parts, {"new": 1 - share, "old": share})
    buffer.add(make_rows(0, 30))
    old = np.array([(buffer.sample(n).index % 2).sum() for _ in range(1_000)])
    assert np.ptp(old) <= 1
    assert abs(old.cumsum() - share * n * np.arange(1, 1_001)).max() < 1


def test_a_part_that_could_not_be_drawn_from_does_not_catch_up(parts, make_rows):
    buffer = MixtureBuffer(parts, {"new": 0.9, "old": 0.1})
    buffer.add(make_rows(0, 30))
    parts["old"].clear()
    for _ in range(100):
        assert set(buffer.sample(4).index % 2) == {0}
    parts["old"].add(make_rows(0, 30))
    assert sum((buffer.sample(4).index % 2).sum() for _ in range(10)) == 4


def test_a_part_that_is_behind_gets_no_row_that_it_cannot_draw(shape, make_rows):
    parts = {name: ReplayBuffer(8, **shape) for name in "abc"}
    buffer = MixtureBuffer(parts, {"a": 0.4, "b": 0.3, "c": 0.3})
    buffer.add(make_rows(0, 8))
    assert set(buffer.sample(2).index % 3) == {0, 1}
    parts["c"].clear()
    for _ in range(20):
        assert set(buffer.sample(1).index % 3) <= {0, 1}


def test_parts_with_unlike_shares_of_small_samples_get_what_is_theirs(shape, make_rows):
    shares = {"a": 0.45, "b": 0.35, "c": 0.15, "d": 0.05}
    buffer = MixtureBuffer({name: ReplayBuffer(8, **shape) for name in shares}, shares)
    buffer.add(make_rows(0, 8))
    counts = np.zeros(4)
    for k in range(1, 400):
        counts += np.bincount(buffer.sample(3).index % 4, minlength=4)
        assert abs(counts - 3 * k * np.array([*shares.values()])).max() < 2


def test_a_state_saved_without_them_has_no_rows_behind(parts, make_rows, shape):
    buffer = MixtureBuffer(parts, {"new": 0.9, "old": 0.1})
    buffer.add(make_rows(0, 30))
    state = buffer.state_dict()
    buffer.sample(4)
    buffer.load_state_dict({key: value for key, value in state.items() if key != "behind"})
    assert buffer.state_dict()["behind"].tolist() == [0, 0]


def test_shares_of_any_type_of_number_can_be_saved(parts, make_rows):
    buffer = MixtureBuffer(parts, {"new": np.float32(0.7), "old": np.float32(0.3)})
    buffer.add(make_rows(0, 30))
    buffer.load_state_dict(buffer.state_dict())


@pytest.mark.parametrize("n", [-1, 2.5])
def test_a_sample_that_cannot_be_changes_nothing(parts, make_rows, assert_equal, n):
    buffer = MixtureBuffer(parts, {"new": 0.9, "old": 0.1})
    buffer.add(make_rows(0, 30))
    before = buffer.state_dict()
    with pytest.raises((ValueError, TypeError)):
        buffer.sample(n)
    assert_equal(buffer.state_dict(), before)


@pytest.mark.parametrize("behind", [np.zeros(3), np.array([np.nan, 0]), [0, 0]])
def test_rows_behind_that_cannot_be_are_refused(parts, make_rows, assert_equal, behind):
    buffer = MixtureBuffer(parts, {"new": 0.9, "old": 0.1})
    buffer.add(make_rows(0, 30))
    buffer.sample(4)
    before = buffer.state_dict()
    with pytest.raises(ValueError, match="'behind'"):
        buffer.load_state_dict(before | {"behind": behind})
    assert_equal(buffer.state_dict(), before)


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
    """Some recent rows and some of the other kind, told of errors, saved, and gone on with."""
    common = shape | {"extra": shape["extra"] | {"episode": Column((), np.int64)}}

    def make(seed):
        parts = {
            "recent": ReplayBuffer(6, seed=seed, **common),
            "kept": MEMORIES[kind](12, seed=seed + 1, **common),
        }
        return MixtureBuffer(parts, {"recent": 0.45, "kept": 0.55})

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
def test_a_copy_owes_its_parts_what_the_original_does(copy, parts, make_rows):
    buffer = MixtureBuffer(parts, {"new": 0.7, "old": 0.3})
    buffer.add(make_rows(0, 30))
    buffer.sample(4)
    twin = copy(buffer)
    assert any(buffer.state_dict()["behind"])
    drawn = [(each.sample(4).index % 2).sum() for each in (buffer, twin)]
    assert drawn[0] == drawn[1]
    assert np.array_equal(buffer.state_dict()["behind"], twin.state_dict()["behind"])


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
