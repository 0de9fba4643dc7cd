"""Packed rows: nothing lost between columns, nothing shared that should not be."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffers import BalancedReservoir, Column, HybridBuffer, ReplayBuffer, ReservoirBuffer
from buffers.layout import Layout
from buffers.places import last_writes
from buffers.rows import Rows
from buffers.storage import Storage

ODD = {
    "bytes": Column((5,), np.uint8),
    "half": Column((3,), np.float16),
    "double": Column((), np.float64),
    "float": Column((3,), np.float32),
}


@given(
    st.integers(1, 40),
    st.lists(st.tuples(st.integers(0, 39), st.integers(0, 5)), min_size=1, max_size=9),
    st.sets(st.sampled_from(sorted(ODD))),
)
def test_rows_written_one_by_one_are_stored_as_in_one_go(n, pairs, left_out):
    pairs = sorted(dict(pair for pair in pairs if pair[0] < n).items())
    rng, one, all_ = np.random.default_rng(n), Storage(ODD, 6), Storage(ODD, 6)
    given = {
        name: rng.integers(0, 99, (n, *column.shape)).astype(column.dtype)
        for name, column in ODD.items()
        if name not in left_out
    } or {"double": np.arange(n, dtype=np.float64)}
    slots = np.full(n, -1)
    for row, slot in pairs:
        slots[row] = slot
    one.put_each(pairs, Rows(ODD, given), 7)
    all_.put(slots, Rows(ODD, given), 7)
    assert one.born.tolist() == all_.born.tolist()
    for name, values in one.data.items():
        assert np.array_equal(values, all_.data[name]), name


def test_rows_take_as_many_bytes_as_their_columns_and_four_for_their_age():
    buffer = ReplayBuffer(1000, state=Column((8,)))
    own = 8 * 4 * 2 + 8 + 4 + 1 + 1 + 4
    assert buffer.nbytes == 1000 * (own + 4)


@pytest.mark.parametrize("floats", [1, 2, 3])
def test_padding_never_costs_more_than_four_bytes(floats):
    columns = {"state": Column((floats,)), "action": Column((), np.int64)}
    own = 4 * floats + 8
    assert own <= Layout(columns).row_bytes <= own + 4


def test_every_value_is_aligned_and_columns_do_not_overlap():
    storage = Storage(ODD, 4)
    for number, values in enumerate(storage.data.values()):
        assert values.flags.aligned
        assert all(stride % values.itemsize == 0 for stride in values.strides)
        values[...] = number
    assert [np.unique(values).tolist() for values in storage.data.values()] == [[0], [1], [2], [3]]


def test_columns_of_a_sample_are_what_torch_accepts_as_they_are(filled, shape):
    torch = pytest.importorskip("torch")
    data = filled(ReplayBuffer(16, **shape)).sample(5).data
    for name, values in data.items():
        assert np.array_equal(torch.from_numpy(values).numpy(), data[name])


def test_the_order_of_the_columns_does_not_change_how_they_are_packed():
    backwards = dict(reversed(ODD.items()))
    assert Layout(ODD).structs == Layout(backwards).structs


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda b: pickle.loads(pickle.dumps(b))])
@pytest.mark.parametrize("kind", [ReplayBuffer, BalancedReservoir, HybridBuffer])
def test_a_copy_goes_on_as_the_original_and_shares_nothing(
    kind, copied, filled, shape, make_rows, assert_equal
):
    buffer = filled(kind(16, **shape))
    buffer.add(make_rows(60, 1, task=1))
    twin = copied(buffer)
    for first in (61, 62, 70):
        buffer.add(make_rows(first, 1 + first % 9, task=first % 3))
    for first in (61, 62, 70):
        twin.add(make_rows(first, 1 + first % 9, task=first % 3))
    assert_equal(buffer.state_dict(), twin.state_dict())
    assert_equal(buffer.sample(9).data, twin.sample(9).data)
    before = twin.state_dict()
    buffer.write(buffer.rows(), reward=np.zeros(len(buffer)))
    assert_equal(twin.state_dict(), before)


@pytest.mark.parametrize("kind", [ReplayBuffer, BalancedReservoir])
def test_ages_stay_exact_beyond_what_four_bytes_can_count(kind, shape, make_rows, assert_equal):
    buffer, copy_ = kind(8, **shape), kind(8, **shape)
    buffer.seen = 2**32 - 5
    buffer.add(make_rows(0, 8))
    buffer.add(make_rows(0, 1, task=1))
    copy_.load_state_dict(buffer.state_dict())
    assert_equal(copy_.state_dict(), buffer.state_dict())
    task = buffer.read(buffer.rows())["task"]
    assert buffer.ages()[task == 1].tolist() == [0]
    assert np.all((buffer.ages()[task == 0] >= 1) & (buffer.ages()[task == 0] <= 8))


def test_a_row_alone_is_stored_as_in_a_batch_whatever_is_given(make_rows, shape, assert_equal):
    alone, together = (ReservoirBuffer(8, **shape) for _ in range(2))
    full = make_rows(0, 40)
    few = {name: full[name] for name in ("state", "action", "reward", "next_state", "done")}
    canonical = {name: values.astype(alone.columns[name].dtype) for name, values in full.items()}
    for rows in (full, few, canonical, full | {"q": canonical["q"]}):
        together.add(rows)
        for i in range(40):
            alone.add({name: values[i : i + 1] for name, values in rows.items()})
        assert_equal(alone.state_dict(), together.state_dict())


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_the_largest_floats_are_stored_and_the_one_bad_value_is_not(n, dtype):
    buffer = ReplayBuffer(4, state=Column((2,), dtype))
    largest = np.full((n, 2), np.finfo(dtype).max)
    rows = {
        "state": largest,
        "action": np.zeros(n, np.int64),
        "reward": np.full(n, np.finfo(np.float32).max, np.float32),
        "next_state": largest,
        "done": np.zeros(n, bool),
    }
    for _ in range(3):
        buffer.add(rows)
    assert np.array_equal(buffer.read(buffer.rows())["state"][:n], largest)
    for bad in (np.nan, np.inf, -np.inf):
        spoilt = largest.copy()
        spoilt[-1, 0] = bad
        with pytest.raises(ValueError, match="column 'next_state': expected finite"):
            buffer.add(rows | {"next_state": spoilt})
    assert np.isfinite(buffer.read(buffer.rows())["next_state"]).all()


@pytest.mark.parametrize("kind", [ReplayBuffer, HybridBuffer])
def test_a_batch_is_filled_again_and_again_and_is_not_the_memory(kind, filled, shape, assert_equal):
    buffer, twin = filled(kind(16, **shape)), filled(kind(16, **shape))
    batch = buffer.batch(6)
    for _ in range(3):
        sample, expected = buffer.sample(6, batch), twin.sample(6)
        assert_equal(sample.data, expected.data)
        assert sample.index.tolist() == expected.index.tolist()
        assert all(sample.data[name] is batch[name] for name in buffer.columns)
        batch["state"][:] = -1
    assert_equal(buffer.state_dict(), twin.state_dict())


@pytest.mark.parametrize("kind", [ReplayBuffer, HybridBuffer])
def test_a_batch_of_another_size_or_dtype_is_refused(kind, filled, shape):
    buffer = filled(kind(16, **shape))
    with pytest.raises(
        ValueError, match=r"out 'state': expected float32 \[6, 2\], given .* \[5, 2"
    ):
        buffer.sample(6, buffer.batch(5))
    with pytest.raises(ValueError, match="out 'task': expected int32"):
        buffer.sample(6, {"task": np.zeros(6, np.int64)})


@pytest.mark.parametrize("kind", [ReplayBuffer, BalancedReservoir, HybridBuffer])
def test_a_buffer_that_nobody_has_any_more_gives_its_memory_back_at_once(kind, filled, shape):
    buffer = filled(kind(16, **shape))
    part = buffer.recent if isinstance(buffer, HybridBuffer) else buffer
    storage = weakref.ref(part._storage)
    gc.disable()  # a cycle would keep it until the collector comes by
    try:
        del buffer, part
        assert storage() is None
    finally:
        gc.enable()


@given(st.lists(st.integers(-1, 5), max_size=200), st.sampled_from([1, 2**40]))
def test_of_rows_for_one_slot_the_last_one_gets_it(slots, far):
    slots = [slot * far if slot > 0 else slot for slot in slots]
    expected = [-1 if slot in slots[i + 1 :] else slot for i, slot in enumerate(slots)]
    given_ = np.array(slots, np.int64)
    assert last_writes(given_).tolist() == expected
    assert given_.tolist() == slots


def test_of_rows_with_one_slot_the_last_is_stored_whole():
    storage = Storage({"a": Column(), "b": Column((2,))}, 8)
    slots = np.array([3, 1, -1, 3, 1, 3])
    a = np.arange(6, dtype=np.float32)
    where = storage.put(slots, {"a": a, "b": np.stack([a, a], 1)}, 10)
    assert where.tolist() == [-1, -1, -1, -1, 1, 3]
    assert storage.data["b"][[1, 3]].tolist() == [[4, 4], [5, 5]]
    assert storage.born[[1, 3]].tolist() == [14, 15]


@pytest.mark.parametrize("kept", [3, 200])  # few of many are written column by column
@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray, lambda x: x[:, ::-1]])
def test_rows_are_stored_as_they_are_however_they_lie_in_memory(kept, layout):
    missing = {"c": Column(fill=7), "d": Column((2,), fill=8), "e": Column((2, 2), fill=9)}
    storage = Storage({"a": Column((40,)), "b": Column((2, 3)), **missing}, 400)
    numbers = layout(np.random.default_rng(0).normal(size=(300, 40)).astype(np.float32))
    slots = np.full(300, -1)
    which = np.arange(300)[::-1][:kept]
    slots[which] = np.arange(kept)
    storage.put(slots, {"a": numbers, "b": numbers[:, :6].reshape(300, 2, 3)}, 0)
    assert np.array_equal(storage.data["a"][:kept], numbers[which])
    assert np.array_equal(storage.data["b"][:kept].reshape(kept, 6), numbers[which, :6])
    for name, column in missing.items():
        assert (storage.data[name][:kept] == column.fill).all()
