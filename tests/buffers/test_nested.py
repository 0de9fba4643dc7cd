"""States that are dicts of arrays: images beside numbers, with frames and in n-step rows."""

import numpy as np
import pytest

from buffers import BUFFERS, Column, HybridBuffer, NStep, ReplayBuffer
from buffers.nested import flat, nested

CAR = {"image": Column((4, 6, 6), np.uint8), "speed": Column((3,)), "gear": Column((), np.int8)}


def observation(numbers):
    """Arrays [n, ...] that tell their numbers."""
    i = np.asarray(numbers)
    image = (i[:, None] + np.arange(4)) % 256  # the four last frames, each of one grey
    return {
        "image": np.broadcast_to(image[:, :, None, None], (len(i), 4, 6, 6)).astype(np.uint8),
        "speed": np.stack([i, i + 0.25, -i], 1).astype(np.float32),
        "gear": (i % 6).astype(np.int8),
    }


def rows_of(first, n):
    i = np.arange(first, first + n)
    return {
        "state": observation(i),
        "action": i,
        "reward": i + 0.5,
        "next_state": observation(i + 1),
        "done": i % 3 == 0,
        "truncated": i % 5 == 0,
    }


def assert_whole(data):
    for name, shift in (("state", 0), ("next_state", 1)):
        expected = observation(data["action"] + shift)
        assert data[name].keys() == expected.keys()
        for key, values in expected.items():
            assert data[name][key].dtype == values.dtype
            assert np.array_equal(data[name][key], values), (name, key)


@pytest.mark.parametrize("frames", [0, 4])
@pytest.mark.parametrize("kind", BUFFERS)
def test_rows_of_dicts_stay_whole(kind, frames):
    image = Column((4, 6, 6), np.uint8, frames=frames)
    extra = {"episode": Column((), np.int64)}  # which a memory of episodes asks for
    buffer = BUFFERS[kind](20, state={**CAR, "image": image}, extra=extra)
    first = 0
    for n in (1, 1, 7, 30, 1, 60):
        buffer.add(rows_of(first, n))
        first += n
    buffer.end_task()
    buffer.add({**rows_of(first, 2), "task": [1, 1]})
    assert_whole(buffer.read(buffer.rows()))
    assert_whole(buffer.sample(16).data)
    assert_whole(buffer.sample(16, buffer.batch(16)).data)
    assert ("frames" in str(buffer.describe())) == bool(frames)


def test_columns_are_named_by_their_path():
    names = [*ReplayBuffer(4, state=CAR).columns]
    assert names[:3] == ["state.image", "state.speed", "state.gear"]
    assert names[5:8] == ["next_state.image", "next_state.speed", "next_state.gear"]


@pytest.mark.parametrize("kind", [ReplayBuffer, HybridBuffer])
def test_out_may_be_a_dict_with_some_of_the_columns(kind):
    buffer = kind(9, state=CAR)
    buffer.add(rows_of(0, 9))
    out = {"state": {"speed": np.zeros((5, 3), np.float32)}, "action": np.zeros(5, np.int64)}
    sample = buffer.sample(5, out)
    assert sample.data.keys() == out.keys()
    assert sample.data["state"]["speed"] is out["state"]["speed"]
    assert np.array_equal(out["state"]["speed"], observation(out["action"])["speed"])


@pytest.mark.parametrize("kind", [ReplayBuffer, HybridBuffer])
def test_a_batch_is_a_dict_that_is_filled_again(kind):
    buffer = kind(9, state=CAR)
    buffer.add(rows_of(0, 9))
    batch = buffer.batch(5)
    data = buffer.sample(5, batch).data
    assert data["state"]["image"] is batch["state"]["image"]
    assert [*batch] == ["state", "action", "reward", "next_state", "done", "truncated", "task"]
    assert len(batch) == 7


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((1, 4, 6, 5), np.uint8)}, "column 'state.image': expected uint8"),
        ({"speed": [[0, 1, np.nan]]}, "column 'state.speed': expected finite float32"),
        ({"gear": [0.5]}, "column 'state.gear': expected int8"),
        ({"smell": [0.5]}, "column 'state.smell' is unknown"),
    ],
)
def test_errors_name_the_column_within_the_dict(n, change, message):
    buffer = ReplayBuffer(9, state=CAR)
    for _ in range(2):
        buffer.add(rows_of(0, n))
    rows = rows_of(2, n)
    values = {name: np.repeat(value, n, axis=0) for name, value in change.items()}
    with pytest.raises(ValueError, match=message):
        buffer.add({**rows, "state": rows["state"] | values})
    assert_whole(buffer.read(buffer.rows()))
    assert len(buffer) == 2 * n


def test_what_is_no_dict_of_these_columns_is_refused():
    buffer, plain = ReplayBuffer(9, state=CAR), ReplayBuffer(9, state=Column((3,)))
    rows = rows_of(0, 4)
    few = {name: rows["state"][name] for name in ("image", "gear")}
    with pytest.raises(ValueError, match=r"column 'state.speed' is missing"):
        buffer.add({**rows, "state": few})
    with pytest.raises(ValueError, match=r"column 'state.image' is missing"):
        buffer.add({**rows, "state": rows["state"]["speed"]})
    with pytest.raises(ValueError, match="column 'state': expected float32"):
        plain.add(rows)
    deeper = {**rows["state"], "speed": {"x": np.zeros(4)}}
    with pytest.raises(ValueError, match=r"column 'state.speed' is missing; .* 'state.speed.x'"):
        buffer.add({**rows, "state": deeper})


def test_a_dict_of_no_columns_is_refused():
    with pytest.raises(ValueError, match="column 'state': expected columns in it"):
        ReplayBuffer(9, state={})
    with pytest.raises(ValueError, match=r"column state.3: expected text"):
        ReplayBuffer(9, state={3: Column()})
    with pytest.raises(ValueError, match=r"column 'state.image': expected a bool, int or float"):
        ReplayBuffer(9, state={"image": Column((2,), object)})


@pytest.mark.parametrize("columns", [{"state": {"a.b": Column()}}, {"extra": {"a.b": Column()}}])
def test_a_name_with_a_dot_would_come_back_as_a_dict_and_is_refused(columns):
    with pytest.raises(ValueError, match=r"column 'a.b': expected a name without a dot"):
        ReplayBuffer(9, **{"state": Column(), **columns})


def test_the_state_names_columns_by_their_path_and_comes_back(assert_equal):
    buffer, copy = (ReplayBuffer(9, state=CAR, seed=seed) for seed in (0, 1))
    buffer.add(rows_of(0, 12))
    state = buffer.state_dict()
    assert {"column.state.image", "column.next_state.gear"} < state.keys()
    copy.load_state_dict(state)
    assert_whole(copy.read(copy.rows()))
    assert_equal(copy.state_dict(), state)


def test_extra_columns_may_be_dicts_too_and_are_filled():
    buffer = ReplayBuffer(9, state=Column((1,)), extra={"goal": {"x": Column((2,), fill=3)}})
    one = np.zeros((1, 1))
    buffer.add({"state": one, "action": [0], "reward": [0], "next_state": one, "done": [False]})
    assert buffer.sample(1).data["goal"]["x"].tolist() == [[3, 3]]


def test_flat_and_nested_undo_each_other():
    tree = {"a": 1, "b": {"c": 2, "d": {"e": 3}}}
    assert flat(tree) == {"a": 1, "b.c": 2, "b.d.e": 3}
    assert nested(flat(tree)) == tree


@pytest.mark.parametrize("cut", [False, True])
def test_n_step_rows_of_dicts_are_those_of_their_arrays(cut):
    """Beside an n-step whose state is one of the arrays."""
    dicts, plain = NStep(3, 0.5, 2), NStep(3, 0.5, 2)
    rng = np.random.default_rng(0)
    for step in range(40):
        numbers = np.array([step, 100 + step])
        rows = rows_of(0, 2) | {"action": numbers}
        rows["done"], rows["truncated"] = rng.random((2, 2)) < 0.1
        cuts = rng.random(2) < 0.2 if cut else None
        rows |= {"state": observation(numbers), "next_state": observation(numbers + 1)}
        ours, env = dicts.push(rows, cut=cuts)
        speeds = {name: rows[name]["speed"] for name in ("state", "next_state")}
        theirs, own = plain.push(rows | speeds, cut=cuts)
        assert env.tolist() == own.tolist()
        for name in ("state", "next_state"):
            assert np.array_equal(ours[name]["speed"], theirs[name])
            last = ours[name]["image"][:, 0, 0, 0]
            assert np.array_equal(last, theirs[name][:, 0].astype(np.uint8))
        assert np.array_equal(ours["reward"], theirs["reward"])
        if step == 20:
            again = NStep(3, 0.5, 2)
            again.load_state_dict(dicts.state_dict())
            dicts = again


def test_n_step_rows_of_dicts_go_into_a_buffer_as_they_are():
    nstep, extra = NStep(2, 0.5, 3), {"discount": Column()}
    buffer = HybridBuffer(50, state={**CAR, "image": CAR["image"]._replace(frames=4)}, extra=extra)
    for step in range(20):
        rows, _ = nstep.push(rows_of(3 * step, 3))
        buffer.add(rows)
    data = buffer.read(buffer.rows())
    assert np.array_equal(data["state"]["gear"], data["action"] % 6)
    assert set(data["discount"].tolist()) <= {0.5, 0.25}


def test_n_step_without_a_state_says_so():
    rows = rows_of(0, 2)
    del rows["next_state"]
    with pytest.raises(ValueError, match=r"columns \['next_state'\] are missing"):
        NStep(2, 0.5, 2).push(rows)
    with pytest.raises(ValueError, match=r"column 'state.gear': expected 2 envs, given \[3\]"):
        NStep(2, 0.5, 2).push(rows_of(0, 2) | {"state": observation([1, 2]) | {"gear": [1, 2, 3]}})
