"""Frames stored once: nothing a user can see differs but the memory taken."""

import copy
import json
import pickle
from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buffers import (
    BUFFERS,
    BalancedReservoir,
    Column,
    HybridBuffer,
    MixtureBuffer,
    ReplayBuffer,
    ReservoirBuffer,
    TaskBuffer,
    frame_pool,
)


def mixture(capacity, seed, **common):
    parts = {"a": ReplayBuffer(capacity, seed=seed, **common)}
    parts["b"] = ReservoirBuffer(capacity, seed=seed + 1, **common)
    return MixtureBuffer(parts, {"a": 0.5, "b": 0.5})


KINDS = {**BUFFERS, "mixture": mixture}
EPISODE = {"episode": Column((), np.int64)}  # which a memory of episodes asks for


class Stream:
    """Stacks of 3 frames of several environments, whose pixels are 0 or 1: frames recur."""

    def __init__(self, seed, num_envs=1, size=2, pixels=2):
        self.rng = np.random.default_rng(seed)
        self.shape, self.pixels = (num_envs, 1, size, size), pixels
        self.stack = self.reset()
        self.steps = 0

    def frames(self):
        return self.rng.integers(self.pixels, size=self.shape).astype(np.uint8)

    def reset(self):
        return np.repeat(self.frames(), 3, axis=1)

    def step(self, task=0, ends=0.2):
        following = np.concatenate([self.stack[:, 1:], self.frames()], axis=1)
        n = len(following)
        done, truncated = self.rng.random((2, n)) < ends / 2
        rows = {
            "state": self.stack,
            "action": np.arange(self.steps, self.steps + n),
            "reward": np.zeros(n),
            "next_state": following,
            "done": done,
            "truncated": truncated,
            "task": np.full(n, task),
        }
        self.steps += n
        self.stack = np.where((done | truncated)[:, None, None, None], self.reset(), following)
        return rows

    def batch(self, steps, task=0, ends=0.2):
        rows = [self.step(task, ends) for _ in range(steps)]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def state(size=2, frames=3):
    return Column((3, size, size), np.uint8, frames=frames)


def stored(buffer):
    return buffer.read(buffer.rows())


def distinct(data):
    frames = np.concatenate([data["state"], data["next_state"]]).reshape(-1, 4)
    return len({frame.tobytes() for frame in frames})


ACTIONS = st.tuples(
    st.sampled_from(["add", "add", "add", "switch", "write", "save", "copy", "clear", "shrink"]),
    st.integers(1, 9),
)


def act(buffer, action, number, stream, fresh):
    """Do it, and return the buffer that goes on."""
    if action == "add":
        buffer.add(stream.batch(number, task=number % 3))
    elif action == "switch":
        buffer.end_task()
    elif action == "write" and len(buffer):
        index = buffer.rows()[:: 1 + number % 3]
        rows = stream.batch(len(index))
        buffer.write(np.tile(index, 2)[: len(index)], next_state=rows["state"][: len(index)])
    elif action == "save":
        saved = buffer.state_dict()
        other = fresh()
        other.add(stream.batch(number))
        other.load_state_dict(saved)
        return other
    elif action == "copy":
        return copy.deepcopy(buffer) if number % 2 else pickle.loads(pickle.dumps(buffer, 5))
    elif action == "clear":
        buffer.clear()
    elif action == "shrink" and type(buffer) in (ReplayBuffer, ReservoirBuffer):
        buffer.shrink(max(buffer.capacity - 1, 1))
    return buffer


@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(ACTIONS, min_size=3, max_size=12), st.integers(0, 99), st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_whatever_happens_the_rows_are_those_of_a_buffer_without(kind, actions, seed, envs):
    def make(frames, capacity=7):
        return KINDS[kind](capacity, state=state(frames=frames), extra=EPISODE, seed=seed)

    plain, pooled = make(0), make(3)
    streams = Stream(seed, envs), Stream(seed, envs)
    with patch.object(frame_pool, "GROWTH_BYTES", 4), patch.object(frame_pool, "BLOCK_BYTES", 20):
        for action, number in actions:
            capacity = getattr(plain, "_capacity", 7)
            plain = act(plain, action, number, streams[0], partial(make, 0, capacity))
            pooled = act(pooled, action, number, streams[1], partial(make, 3, capacity))
            same(stored(plain), stored(pooled))
            if plain.drawable:
                ours, theirs = pooled.sample(5, pooled.batch(5)), plain.sample(5)
                assert ours.index.tolist() == theirs.index.tolist()
                same(ours.data, theirs.data)


def same(a, b):
    assert a.keys() == b.keys()
    for name, values in a.items():
        assert values.dtype == b[name].dtype
        assert np.array_equal(values, b[name]), name


def test_frames_that_share_a_key_are_still_told_apart():
    def keys(pool, frames):
        return [2**64 - 2] * len(frames)

    with patch.object(frame_pool.FramePool, "_keys_of", keys):
        plain, pooled = (ReplayBuffer(9, state=state(frames=n)) for n in (0, 3))
        streams = Stream(0, 2), Stream(0, 2)
        with patch.object(frame_pool, "GROWTH_BYTES", 4):
            for _ in range(30):
                plain.add(streams[0].batch(2))
                pooled.add(streams[1].batch(2))
                same(stored(plain), stored(pooled))


@pytest.mark.parametrize("shift", range(64))
def test_frames_that_differ_in_few_bits_have_different_keys(shift):
    pool = frame_pool.FramePool(800)
    words = np.zeros((200, 100), np.uint64)
    words[np.arange(200), np.arange(200) // 2] = np.uint64(1) << np.uint64(shift)
    words[1::2, 50:] ^= np.uint64(1) << np.uint64(shift)
    assert len(set(pool._keys_of(words.reshape(-1).view(pool.dtype)))) == 200


def test_a_stack_of_4_takes_about_one_frame_per_step():
    stack, plain = (
        ReplayBuffer(10_000, state=Column((4, 32, 32), np.uint8, frames=n)) for n in (4, 0)
    )
    rng = np.random.default_rng(0)
    last = np.zeros((4, 32, 32), np.uint8)
    for _ in range(30):
        new = rng.integers(256, size=(500, 32, 32), dtype=np.uint8)
        frames = np.concatenate([last, new])
        state = np.stack([frames[i : i + 500] for i in range(4)], axis=1)
        following = np.stack([frames[i + 1 : i + 501] for i in range(4)], axis=1)
        ends = np.arange(500) == 499
        rows = {"action": ends, "reward": ends, "done": ends, "truncated": ends}
        stack.add({"state": state, "next_state": following, **rows})
        last = np.repeat(rng.integers(256, size=(1, 32, 32), dtype=np.uint8), 4, axis=0)
    about = stack.describe()["frames"]
    assert about["referred"] == 80_000
    assert about["distinct"] == 10_000 + 20  # one more per episode: that of the reset
    assert stack.nbytes < plain.nbytes / 5.5  # 8 frames to 1, with room to grow and the index
    assert about["saved"] == pytest.approx(plain.nbytes - stack.nbytes, rel=1e-3)
    assert json.loads(json.dumps(about)) == about


SMALL = [ReplayBuffer, ReservoirBuffer, BalancedReservoir, partial(HybridBuffer, rows_per_task=10)]


@pytest.mark.parametrize("make", SMALL)
def test_a_pool_stops_growing_when_the_buffer_is_full(make):
    buffer, stream = make(20, state=state(size=8), seed=0), Stream(0, 2, 8, 256)
    with patch.object(frame_pool, "GROWTH_BYTES", 64):
        sizes = []
        for step in range(1500):
            buffer.add(stream.batch(1, task=step // 300 % 2))
            if step % 300 == 299:
                buffer.end_task()
                sizes.append(buffer.nbytes)
    assert max(sizes[2:]) < 1.2 * min(sizes[2:])  # 2400 rows since the second task has its rows


@pytest.mark.parametrize("make", [ReplayBuffer, ReservoirBuffer, BalancedReservoir, TaskBuffer])
def test_the_frames_in_the_pool_are_those_that_rows_refer_to(make):
    buffer, stream = make(40, state=state(), seed=0), Stream(0, 2, pixels=256)

    def check(buffer):
        frames, slots = buffer._storage._frames, buffer._storage.data
        (pool,) = frames._pools.values()
        pool._give_up(frames._in_pool(pool, slots))
        assert len(pool._index) == distinct(stored(buffer)) + 1  # that of zeros
        assert buffer.describe()["frames"]["distinct"] == distinct(stored(buffer))

    for step in range(20):
        buffer.add(stream.batch(50, task=step % 4))
        check(buffer)
    saved = buffer.state_dict()
    buffer.add(stream.batch(1, task=4))  # blocks shrink, or storage grows
    check(buffer)
    for step in range(40):  # what lay where the block of task 4 is now has been replaced
        buffer.add(stream.batch(50, task=step % 4))
    check(buffer)
    buffer.load_state_dict(saved)
    check(buffer)
    buffer.load_state_dict(make(40, state=state()).state_dict())
    check(buffer)
    buffer.load_state_dict(saved)
    if not isinstance(buffer, TaskBuffer):
        buffer.shrink(3)
        check(buffer)
    buffer.clear()
    check(buffer)


def test_the_state_has_each_frame_once_and_does_not_tell_what_was_before(assert_equal):
    long, short = (ReservoirBuffer(20, state=state(), seed=0) for _ in range(2))
    stream = Stream(0, 2)
    for _ in range(50):
        long.add(stream.batch(2))
    saved = long.state_dict()
    assert (
        len(saved["frames.4"])
        == len(np.unique(saved["frames.4"], axis=0))
        == distinct(stored(long))
    )
    assert saved["column.state"].shape == (20, 3)
    short.load_state_dict(saved)
    assert_equal(short.state_dict(), saved)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda s: {**s, "frames.4": s["frames.4"][:-1]}, "expected numbers of"),
        (lambda s: {**s, "frames.4": s["frames.4"][:, :3]}, "'frames.4': expected uint8"),
        (lambda s: {**s, "frames.4": s["frames.4"].astype(int)}, "'frames.4': expected uint8"),
        (lambda s: {**s, "frames.4": s["frames.4"].tolist()}, "expected an array"),
        (lambda s: {k: v for k, v in s.items() if k != "frames.4"}, "lacks"),
        (lambda s: {**s, "column.state": s["column.state"][:, :2]}, "'column.state': expected"),
    ],
)
def test_a_state_without_all_its_frames_is_refused(spoil, match, assert_equal):
    buffer = ReplayBuffer(20, state=state(), seed=0)
    buffer.add(Stream(0).batch(30))
    before = buffer.state_dict()
    with pytest.raises(ValueError, match=match):
        buffer.load_state_dict(spoil(before))
    assert_equal(buffer.state_dict(), before)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64, np.bool_])
def test_frames_of_any_size_and_dtype(size, dtype):
    """A value of one frame, and one of two in other columns, as they come from a float32 stack."""
    rng = np.random.default_rng(0)
    given = np.float32 if np.dtype(dtype).kind == "f" else dtype
    rows = {
        "state": rng.integers(3, size=(50, size, size)).astype(given),
        "next_state": rng.integers(3, size=(50, size, size)).astype(given),
        "pair": rng.integers(3, size=(50, 2, size, size)).astype(given),
        "action": np.arange(50),
        "reward": np.zeros(50),
        "done": np.zeros(50, bool),
    }
    columns = [
        {
            "state": Column((size, size), dtype, frames=1 if pool else 0),
            "extra": {"pair": Column((2, size, size), dtype, frames=2 if pool else 0)},
        }
        for pool in (False, True)
    ]
    plain, pooled = (ReservoirBuffer(20, **c) for c in columns)
    for first in (0, 1, 2, 25):
        some = {name: values[first : first + 1 + first] for name, values in rows.items()}
        plain.add(some)
        pooled.add(some)
    same(stored(plain), stored(pooled))
    assert len(pooled.state_dict()) == len(plain.state_dict()) + 1  # one pool for the three columns


def test_a_column_of_frames_that_is_not_given_is_filled():
    extra = {"seen": Column((2, 2, 2), np.uint8, fill=7, frames=2)}
    buffer = HybridBuffer(5, state=state(), extra=extra)
    buffer.add(Stream(0).batch(3))
    assert np.all(stored(buffer)["seen"] == 7)


def test_out_takes_frames():
    plain, pooled = (ReplayBuffer(9, state=state(frames=n)) for n in (0, 3))
    for buffer in (plain, pooled):
        buffer.add(Stream(0).batch(20))
    out = {"state": np.zeros((4, 3, 2, 2), np.uint8)}
    sample = pooled.sample(4, out)
    assert sample.data["state"] is out["state"]
    assert np.array_equal(out["state"], plain.sample(4).data["state"])


@pytest.mark.parametrize("frames", [-1, 2, 4])
def test_frames_that_do_not_divide_a_value_are_refused(frames):
    with pytest.raises(ValueError, match=rf"'state': a value \[3, 2, 2\] is not {frames} frames"):
        ReplayBuffer(4, state=state(frames=frames))
    with pytest.raises(ValueError, match=r"'state': a value \[\] is not 1 frames"):
        ReplayBuffer(4, state=Column((), frames=1))


def test_no_bad_row_is_stored_with_its_frames(assert_equal):
    buffer, stream = ReplayBuffer(9, state=state(), seed=0), Stream(0)
    buffer.add(stream.batch(20))
    before, rows = buffer.state_dict(), stream.batch(4)
    with pytest.raises(ValueError, match=r"column 'next_state': expected uint8 \[4, 3, 2, 2\]"):
        buffer.add({**rows, "next_state": rows["next_state"][:, :2]})
    with pytest.raises(ValueError, match="column 'reward': expected finite"):
        buffer.add({**rows, "reward": rows["reward"] + np.inf})
    assert_equal(buffer.state_dict(), before)


@pytest.mark.parametrize("kind", [ReplayBuffer, ReservoirBuffer])
def test_a_file_of_frames_has_room_for_those_of_a_batch_and_not_for_their_copies(kind, tmp_path):
    frames = np.random.default_rng(0).integers(1, 255, size=(105, 2, 2), dtype=np.uint8)
    stacks = np.stack([frames[i : i + 4] for i in range(102)])
    number = np.arange(101)
    rows = {"state": stacks[:-1], "next_state": stacks[1:], "action": number, "task": number % 1}
    rows |= {"reward": np.ones(101, np.float32), "done": number < 0, "truncated": number < 0}
    column = Column((4, 2, 2), np.uint8, frames=4)
    with patch.object(frame_pool, "GROWTH_BYTES", 4):
        buffer = kind(200, state=column, storage="memmap", path=tmp_path / "rows")
        buffer.add(rows)
    assert (tmp_path / "rows" / "frames4.bin").stat().st_size == 4 * (105 + 1)
