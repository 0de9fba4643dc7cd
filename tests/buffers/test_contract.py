"""What holds for every buffer that can be chosen by name, and for the reservoir alone."""

import copy
import json
import pickle
from functools import partial

import numpy as np
import pytest
from scipy.stats import chisquare

from buffers import (
    BUFFERS,
    Buffer,
    Column,
    CoresetBuffer,
    EpisodeReservoir,
    HybridBuffer,
    MixtureBuffer,
    PrioritizedReservoir,
    RankBuffer,
    ReplayBuffer,
    ReservoirBuffer,
    TaskBuffer,
    TaskReservoir,
    frame_pool,
)
from tests.buffers.test_memmap import files_up_to


def mixture(capacity, seed=0, **common):
    """Three parts, one of them a mixture itself."""
    seeds = np.random.default_rng(seed).integers(2**62, size=3).tolist()
    path = common.pop("path", None)

    def own(number):
        return common | {"seed": seeds[number], "path": path and path / str(number)}

    parts = {
        "recent": ReplayBuffer(capacity, **own(0)),
        "sample": ReservoirBuffer(capacity, **own(1)),
        "both": HybridBuffer(capacity, rows_per_task=4, **own(2)),
    }
    return MixtureBuffer(parts, {"recent": 0.5, "sample": 0.2, "both": 0.3})


def episodes(capacity, extra=None, **common):
    """All rows are of one environment, so that each `done` or `truncated` ends an episode."""
    number = {"episode": Column((), np.int64)}
    return EpisodeReservoir(capacity, extra={**(extra or {}), **number}, **common)


KINDS = {name: partial(kind, 16) for name, kind in BUFFERS.items()}
KINDS["hybrid"] = partial(BUFFERS["hybrid"], 16, rows_per_task=8)
KINDS["episodes"] = partial(episodes, 16)
KINDS["mixture"] = partial(mixture, 16)
KINDS["task_reservoir"] = partial(TaskReservoir, 16)
KINDS["prioritized_hybrid"] = partial(
    HybridBuffer, 16, rows_per_task=8, kind=PrioritizedReservoir, recent_kind=RankBuffer
)
KINDS["rank_by_task"] = partial(TaskBuffer, 16, kind=RankBuffer, shared=True, draw_current=True)
BY_RANK = {"rank", "prioritized_hybrid", "rank_by_task"}  # the others draw these rows uniformly

HEARS_FEEDBACK = {"surprise"}
# Each part has a share, however many rows it holds; by rank, or by parts of equal probability.
NOT_UNIFORM = {"hybrid", "mixture", "prioritized", "prioritized_reservoir", *BY_RANK}


@pytest.fixture(params=KINDS)
def make(request, shape):
    return partial(KINDS[request.param], **shape)


def test_every_named_buffer_is_tested_here():
    assert BUFFERS.keys() <= KINDS.keys()


def test_rows_stay_whole_however_they_are_added(make, make_rows, assert_whole):
    for seed in range(5):
        buffer, first = make(seed=seed), 0
        for n in (1, 7, 40, 3, 16, 100, 0, 2):
            buffer.add(make_rows(first, n, task=np.arange(n) % 3))
            first += n
            stored = buffer.read(buffer.rows())
            assert_whole(stored)
            assert np.array_equal(stored["task"] < 3, np.ones(len(buffer), bool))
        buffer.end_task()
        if len(buffer):
            assert_whole(buffer.sample(64).data)


def test_a_sample_is_what_is_stored_at_its_index(make, filled, assert_equal):
    buffer = filled(make())
    sample = buffer.sample(50)
    assert_equal(sample.data, buffer.read(sample.index))
    assert set(sample.index) <= set(buffer.rows())
    assert sample.weight.dtype == np.float32
    assert sample.weight.shape == (50,)


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - BY_RANK - {"facility"}))
def test_rows_drawn_uniformly_weigh_1(kind, shape, filled):
    assert filled(KINDS[kind](**shape)).sample(50).weight.tolist() == [1] * 50


@pytest.mark.parametrize("kind", sorted(BY_RANK))
def test_other_rows_weigh_at_most_1(kind, shape, filled):
    weight = filled(KINDS[kind](**shape)).sample(50).weight
    assert (weight > 0).all()
    assert weight.max() == 1 > weight.min()


@pytest.mark.parametrize("make", sorted(KINDS.keys() - NOT_UNIFORM), indirect=True)
def test_every_row_is_drawn_equally_often(make, filled):
    buffer = filled(make())
    buffer.end_task()
    rows = buffer.rows()
    drawn = np.bincount(np.searchsorted(rows, buffer.sample(500 * len(rows)).index))
    assert len(rows) > 1
    assert 0.001 < chisquare(drawn).pvalue < 0.999


def test_a_batch_is_stored_as_its_rows_would_be_one_by_one(make, make_rows, assert_equal):
    batched, single = make(seed=3), make(seed=3)
    tasks = np.random.default_rng(0).integers(3, size=120)
    for first in range(0, 120, 24):
        batched.add(make_rows(first, 24, tasks[first : first + 24]))
    for first in range(120):
        single.add(make_rows(first, 1, tasks[first]))
    assert_equal(batched.state_dict(), single.state_dict())


def test_rows_that_need_no_conversion_are_stored_like_others(make, make_rows, assert_equal):
    converted, exact = make(seed=3), make(seed=3)
    tasks = np.random.default_rng(0).integers(3, size=120)
    for first in range(0, 120, 24):
        rows = make_rows(first, 24, tasks[first : first + 24])
        converted.add(rows)
        exact.add({name: v.astype(exact.columns[name].dtype) for name, v in rows.items()})
    assert_equal(converted.state_dict(), exact.state_dict())


def test_the_returned_slot_is_where_the_row_is(make, make_rows):
    buffer = make()
    for first in range(0, 200, 40):
        slots = buffer.add(make_rows(first, 40))
        kept = slots >= 0
        assert len(set(slots[kept])) == kept.sum()
        assert np.array_equal(
            buffer.read(slots[kept])["action"], np.arange(first, first + 40)[kept]
        )


def test_what_is_added_read_or_sampled_is_a_copy(make, make_rows, filled):
    buffer = filled(make())
    rows = make_rows(60, 1, task=1)
    (slot,) = buffer.add(rows)
    slot = slot if slot >= 0 else buffer.rows()[0]
    before = buffer.read([slot])
    rows["state"][:] = buffer.read([slot])["state"][:] = 1000
    buffer.sample(50).data["state"][:] = 1000
    assert np.array_equal(buffer.read([slot])["state"], before["state"])


def test_an_empty_batch_changes_nothing(make, make_rows, filled, assert_equal):
    buffer = filled(make())
    before = buffer.state_dict()
    assert buffer.add(make_rows(0, 0)).shape == (0,)
    assert_equal(buffer.state_dict(), before)


def test_out_is_written_in_place_and_other_columns_are_left_out(make, filled):
    buffer, twin = filled(make()), filled(make())
    out = {"state": np.empty((6, 2), np.float32), "task": np.empty(6, np.int32)}
    sample = buffer.sample(6, out)
    assert sample.data.keys() == out.keys()
    assert sample.data["state"] is out["state"]
    expected = twin.sample(6)
    assert np.array_equal(out["state"], expected.data["state"])
    assert np.array_equal(out["task"], expected.data["task"])
    assert np.array_equal(sample.index, expected.index)


def test_out_of_a_wrong_name_or_length_is_refused(make, filled):
    buffer = filled(make())
    with pytest.raises(ValueError, match="'obs' is unknown"):
        buffer.sample(4, {"obs": np.empty((4, 2), np.float32)})
    with pytest.raises(ValueError):
        buffer.sample(4, {"state": np.empty((5, 2), np.float32)})


def test_an_empty_buffer_cannot_be_sampled(make):
    with pytest.raises(ValueError):
        make().sample(1)


def test_clear_leaves_nothing_and_filling_again_works(make, filled, assert_whole):
    buffer = filled(make())
    buffer.clear()
    assert len(buffer) == 0
    assert len(buffer.rows()) == 0
    assert len(buffer.ages()) == 0
    assert buffer.seen == 60
    with pytest.raises(ValueError):
        buffer.sample(1)
    assert len(filled(buffer)) > 0
    assert_whole(buffer.read(buffer.rows()))


def test_seen_counts_every_row_offered(make, filled):
    assert filled(make()).seen == 60


def test_the_state_survives_json_and_the_future_is_the_same(make, make_rows, filled, assert_equal):
    original, copy = filled(make(seed=1)), make(seed=2)
    state = original.state_dict()
    arrays = {k: v for k, v in state.items() if isinstance(v, np.ndarray)}
    others = {k: v for k, v in state.items() if not isinstance(v, np.ndarray)}
    copy.load_state_dict(arrays | json.loads(json.dumps(others)))
    assert_equal(copy.state_dict(), state)
    for first in range(60, 160, 7):
        rows = make_rows(first, 7, task=1 + (first > 100))
        assert np.array_equal(original.add(rows), copy.add(rows))
        a, b = original.sample(9), copy.sample(9)
        assert np.array_equal(a.index, b.index)
        assert_equal(a.data, b.data)
        if 80 < first < 90:
            original.end_task(), copy.end_task()
    assert_equal(original.state_dict(), copy.state_dict())


def test_a_saved_state_does_not_change_with_the_buffer(make, make_rows, filled, assert_equal):
    buffer, twin = filled(make()), filled(make())
    state = buffer.state_dict()
    buffer.add(make_rows(60, 30, task=1))
    buffer.write(buffer.rows(), reward=np.zeros(len(buffer)))
    assert_equal(state, twin.state_dict())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: {**s, "added": -1},
        lambda s: {**s, "capacity": 17},
        lambda s: {**s, "kind": "other"},
        lambda s: {**s, "rng": {"bit_generator": "MT19937"}},
        lambda s: {**s, "rng": 3},
        lambda s: {**s, "surprise": 1},
        lambda s: {k: v for k, v in s.items() if k != "seen"},
        lambda s: {k: v for k, v in s.items() if k != "column.q"},
        lambda s: {**s, "column.q": s["column.q"][:, :2]},
        lambda s: {**s, "column.q": s["column.q"][1:]},
        lambda s: {**s, "column.q": s["column.q"].astype(np.float64)},
        lambda s: {**s, "column.q": s["column.q"].tolist()},
        lambda s: {**s, "column.other": s["column.q"]},
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_nothing_is_loaded(
    make, make_rows, filled, spoil, assert_equal
):
    buffer, state = filled(make(seed=1)), filled(make(seed=2)).state_dict()
    names = [key for key in state if key.split(".")[-2:] == ["column", "q"]]
    last = names[-1]  # of the part loaded last
    prefix = last.removesuffix("column.q")
    part = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    rest = {k: v for k, v in state.items() if not k.startswith(prefix)} if prefix else {}
    before = buffer.state_dict()
    with pytest.raises(ValueError) as error:
        buffer.load_state_dict(rest | {prefix + k: v for k, v in spoil(part).items()})
    assert "\n" not in str(error.value)
    assert_equal(buffer.state_dict(), before)


BAD = {
    "unknown column": lambda r: {**r, "colour": r["action"]},
    "missing column": lambda r: {k: v for k, v in r.items() if k != "done"},
    "missing state": lambda r: {k: v for k, v in r.items() if k != "state"},
    "state of another shape": lambda r: {**r, "state": r["state"][:, :1]},
    "scalar state": lambda r: {**r, "state": 1.0},
    "too few rewards": lambda r: {**r, "reward": r["reward"][1:]},
    "scalar reward": lambda r: {**r, "reward": 1.0},
    "ragged list": lambda r: {**r, "state": [[1.0], [1.0, 2.0], [], []]},
    "NaN reward": lambda r: {**r, "reward": [1, 2, np.nan, 4]},
    "infinite state": lambda r: {**r, "state": np.full((4, 2), np.inf)},
    "NaN next state": lambda r: {**r, "next_state": np.full((4, 2), np.nan)},
    "reward too large for float32": lambda r: {**r, "reward": np.full(4, 1e300)},
    "float action": lambda r: {**r, "action": r["action"] + 0.5},
    "float done": lambda r: {**r, "done": np.zeros(4)},
    "complex reward": lambda r: {**r, "reward": np.zeros(4, complex)},
    "text": lambda r: {**r, "reward": ["1", "2", "3", "4"]},
    "nothing": lambda r: {**r, "reward": [None] * 4},
    "task too large for int32": lambda r: {**r, "task": np.full(4, 2**40)},
}


@pytest.mark.parametrize("spoil", BAD.values(), ids=BAD.keys())
def test_bad_rows_are_refused_in_one_line_and_nothing_changes(
    make, make_rows, filled, spoil, assert_equal
):
    buffer = filled(make())
    before = buffer.state_dict()
    with pytest.raises(ValueError, match="column '") as error:
        buffer.add(spoil(make_rows(60, 4, task=2)))
    assert "\n" not in str(error.value)
    assert_equal(buffer.state_dict(), before)


@pytest.mark.parametrize("frames", [0, 2])
def test_a_batch_that_the_disk_has_no_room_for_was_never_there(
    make, make_rows, filled, tmp_path, monkeypatch, assert_equal, frames
):
    monkeypatch.setattr(frame_pool, "GROWTH_BYTES", 4)
    state = Column((2,), frames=frames)
    refused, twin = (
        filled(make(state=state, storage="memmap", path=tmp_path / name)) for name in "ab"
    )
    before = refused.state_dict()
    largest = max(file.stat().st_size for file in tmp_path.glob("a/**/*.bin"))
    for n in (2_000, 40):
        with files_up_to(largest), pytest.raises(OSError):
            refused.add(make_rows(60, n, task=1 + np.arange(n) * 2 // n))
        assert_equal(refused.state_dict(), before)
    for first in range(60, 160, 20):
        rows = make_rows(first, 20, task=1 + first // 90)
        assert np.array_equal(refused.add(rows), twin.add(rows))
        ours, theirs = refused.sample(9), twin.sample(9)
        assert ours.index.tolist() == theirs.index.tolist()
        assert_equal(ours.data, theirs.data)
    assert_equal(refused.state_dict(), twin.state_dict())


def test_the_seed_decides_everything_and_the_global_generator_nothing(make, filled):
    samples = []
    for seed, noise in ((5, 0), (5, 1), (6, 0)):
        np.random.seed(noise)  # noqa: NPY002 (that it does not matter is the point)
        samples.append(filled(make(seed=seed)).sample(40).index)
    assert np.array_equal(samples[0], samples[1])
    assert not np.array_equal(samples[0], samples[2])


@pytest.mark.parametrize("wrap", [np.random.SeedSequence, np.random.default_rng])
def test_a_seed_may_be_a_sequence_or_a_generator(make, filled, wrap):
    a, b = filled(make(seed=7)), filled(make(seed=wrap(7)))
    assert np.array_equal(a.sample(40).index, b.sample(40).index)


def test_write_changes_these_columns_of_these_rows_only(make, filled):
    buffer = filled(make())
    index = buffer.rows()
    before = buffer.read(index)
    buffer.write(index[[0, -1]], q=[[1, 2, 3], [4, 5, 6]], reward=[7, 8])
    after = buffer.read(index)
    assert after["q"][[0, -1]].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert after["reward"][[0, -1]].tolist() == [7, 8]
    assert np.array_equal(after["q"][1:-1], before["q"][1:-1])
    assert np.array_equal(after["state"], before["state"])


def test_of_two_writes_to_a_row_the_last_counts_in_every_column(make, filled):
    buffer = filled(make())
    slot = buffer.rows()[-1]
    buffer.write([slot, slot], q=[[1, 1, 1], [2, 2, 2]], reward=[1, 2])
    row = buffer.read([slot])
    assert (row["q"].tolist(), row["reward"].tolist()) == ([[2, 2, 2]], [2])


@pytest.mark.parametrize(
    "columns",
    [{"q": [1, 2, 3]}, {"reward": [np.nan]}, {"reward": [0], "task": [0]}, {"colour": [0]}],
)
def test_a_bad_write_changes_nothing(make, filled, columns, assert_equal):
    buffer = filled(make())
    before = buffer.state_dict()
    with pytest.raises(ValueError, match="column"):
        buffer.write(buffer.rows()[:1], **columns)
    assert_equal(buffer.state_dict(), before)


@pytest.mark.parametrize("slot", [-1, 10_000])
def test_where_no_row_is_stored_nothing_can_be_read_or_written(make, filled, slot):
    buffer = filled(make())
    with pytest.raises(ValueError, match="no row is stored"):
        buffer.read([slot])
    with pytest.raises(ValueError, match="no row is stored"):
        buffer.write([buffer.rows()[0], slot], reward=[0, 0])


@pytest.mark.parametrize("wrong", [lambda i: i + 0.5, lambda i: i > 0, lambda i: i.astype(str)])
def test_an_index_that_is_no_whole_number_is_refused(make, filled, wrong, assert_equal):
    buffer = filled(make())
    index, before = wrong(buffer.rows()[:2]), buffer.state_dict()
    with pytest.raises(ValueError, match=r"^index: expected whole numbers, given .*\Z"):
        buffer.read(index)
    with pytest.raises(ValueError, match=r"^index: expected whole numbers, given .*\Z"):
        buffer.write(index, reward=[0, 0])
    assert_equal(buffer.state_dict(), before)
    assert len(buffer.read([])["reward"]) == 0


def test_rows_of_a_task_are_exactly_those(make, filled):
    buffer = filled(make())
    index = buffer.rows()
    assert len(index) == len(buffer)
    for task in (0, 1, 2):
        assert buffer.rows(task).tolist() == index[buffer.read(index)["task"] == task].tolist()


def test_age_is_the_number_of_rows_offered_since(make, filled):
    buffer = filled(make())
    newest = 59
    assert np.array_equal(buffer.ages(), newest - buffer.read(buffer.rows())["action"])


def test_the_description_is_json_and_adds_up(make, filled):
    buffer = filled(make())
    about = buffer.describe()
    assert json.loads(json.dumps(about)) == about
    assert about["rows"] == len(buffer)
    assert about["bytes"] == buffer.nbytes
    assert about["capacity"] == buffer.capacity
    assert sum(about["share"].values()) == pytest.approx(1)
    assert about["share"]["1"] == pytest.approx(len(buffer.rows(1)) / len(buffer))
    assert about["age"]["median"] == np.median(buffer.ages())


def test_an_empty_buffer_can_be_described_and_saved(make, assert_equal):
    buffer, copy = make(seed=1), make(seed=2)
    assert buffer.describe()["share"] == {}
    assert json.loads(json.dumps(buffer.describe()))["age"] == {"min": 0, "median": 0, "max": 0}
    copy.load_state_dict(buffer.state_dict())
    assert_equal(copy.state_dict(), buffer.state_dict())


@pytest.mark.parametrize("make", sorted(KINDS.keys() - HEARS_FEEDBACK), indirect=True)
def test_feedback_about_rows_not_drawn_changes_nothing(make, filled, assert_equal):
    buffer = filled(make())
    before = buffer.state_dict()
    buffer.feedback(buffer.rows(), np.ones(len(buffer)))
    assert_equal(buffer.state_dict(), before)


def test_feedback_changes_something_where_it_is_needed_only(make, filled, assert_equal):
    buffer = filled(make())
    index = buffer.sample(9).index
    before = buffer.state_dict()
    buffer.feedback(index, np.linspace(5, 9, 9))
    if buffer.needs_feedback:
        with pytest.raises(AssertionError):
            assert_equal(buffer.state_dict(), before)
    else:
        assert_equal(buffer.state_dict(), before)


@pytest.mark.parametrize("kind", [ReplayBuffer, CoresetBuffer, TaskBuffer, HybridBuffer])
def test_a_kind_that_overrides_feedback_needs_it(kind, shape):
    class Own(kind):
        def feedback(self, index, td_error):
            """Of some use to it."""

    assert not kind(16, **shape).needs_feedback
    assert Own(16, **shape).needs_feedback


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda b: pickle.loads(pickle.dumps(b))])
def test_a_copy_goes_on_as_the_original(make, filled, make_rows, copied, assert_equal):
    buffer = filled(make(seed=1))
    twin = copied(buffer)
    for first in (60, 61, 70):
        for one in (buffer, twin):
            one.add(make_rows(first, 1 + first % 9, task=first % 3))
    assert_equal(buffer.state_dict(), twin.state_dict())
    assert_equal(buffer.sample(9).data, twin.sample(9).data)


def in_dicts(rows):
    """The same rows, their states in a dict of x and, one level down, y."""
    states = {name: rows[name] for name in ("state", "next_state")}
    return rows | {k: {"x": v[:, :1], "far": {"y": v[:, 1]}} for k, v in states.items()}


def test_states_in_dicts_are_kept_and_drawn_as_they_are_in_one_array(make, make_rows, assert_equal):
    columns = {"x": Column((1,)), "far": {"y": Column()}}
    plain, dicts, copy = make(seed=3), make(seed=3, state=columns), make(seed=4, state=columns)
    for first in (0, 1, 2, 12, 30, 80):
        rows = make_rows(first, 1 + first, task=first % 2)
        assert plain.add(rows).tolist() == dicts.add(in_dicts(rows)).tolist()
        if first == 12:
            plain.end_task(), dicts.end_task()
    ours, theirs = plain.sample(9), dicts.sample(9)
    assert ours.index.tolist() == theirs.index.tolist()
    expected = in_dicts(ours.data)
    for data in (theirs.data, dicts.read(theirs.index), dicts.sample(9, dicts.batch(9)).data):
        assert data.keys() == expected.keys()
        assert data["state"].keys() == {"x", "far"}
    for name in ("state", "next_state"):
        assert_equal(theirs.data[name]["far"], expected[name]["far"])
        assert np.array_equal(theirs.data[name]["x"], expected[name]["x"])
        assert np.array_equal(dicts.read(theirs.index)[name]["x"], expected[name]["x"])
    dicts.write(theirs.index[:1], state={"far": {"y": [7]}})
    assert dicts.read(theirs.index[:1])["state"]["far"]["y"].tolist() == [7]
    copy.load_state_dict(dicts.state_dict())
    assert_equal(copy.state_dict(), dicts.state_dict())


def test_storing_frames_once_changes_nothing_but_the_memory(make, make_rows, assert_equal):
    frames = {"state": Column((2,), frames=2)}
    plain, pooled, copy = make(seed=3), make(seed=3, **frames), make(seed=4, **frames)
    for first in (0, 1, 2, 12, 30, 80):
        rows = make_rows(first, 1 + first, task=first % 2)
        assert plain.add(rows).tolist() == pooled.add(rows).tolist()
        if first == 12:
            plain.end_task(), pooled.end_task()
    copy.load_state_dict(pooled.state_dict())
    for n in (1, 9):
        assert_equal(plain.sample(n).data, pooled.sample(n, pooled.batch(n)).data)
    for buffer in (pooled, copy):
        assert_equal(plain.read(plain.rows()), buffer.read(buffer.rows()))
    pooled.clear()
    assert len(pooled.rows()) == 0


def test_a_capacity_of_nothing_and_a_column_twice_are_refused(make):
    kind = make.func  # without the capacity and columns of the other tests
    with pytest.raises(ValueError, match="capacity 0"):
        kind(0, state=Column((2,)))
    with pytest.raises(ValueError, match="'task' exists already"):
        kind(4, state=Column((2,)), extra={"task": Column()})
    with pytest.raises(ValueError, match="'q'"):
        kind(4, state=Column((2,)), extra={"q": Column((), object)})


def test_a_buffer_shrinks_or_says_that_it_cannot_and_nothing_changes(
    make, filled, make_rows, assert_equal
):
    buffer = filled(make())
    if not isinstance(buffer, Buffer):
        pytest.skip("a mixture does not shrink; its parts may")
    before = buffer.state_dict()
    for capacity in (0, -1, buffer.capacity + 1):
        with pytest.raises(ValueError, match=rf"^capacity {capacity}: choose from 1 to .*\Z"):
            buffer.shrink(capacity)
    try:
        buffer.shrink(5)
    except NotImplementedError as error:
        assert "cannot shrink" in str(error)
        assert_equal(buffer.state_dict(), before)
        return
    assert len(buffer) <= buffer.capacity == 5
    buffer.add(make_rows(100, 40))
    assert len(buffer.rows()) == len(buffer) <= 5
