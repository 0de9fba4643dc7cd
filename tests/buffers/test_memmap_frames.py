"""Frames stored once, in files: the same rows as in memory, and there again after a crash."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from buffers import BUFFERS, Column, ReplayBuffer, ReservoirBuffer, frame_pool
from tests.buffers.test_frames import EPISODE, Stream, distinct, same, state, stored
from tests.buffers.test_memmap import files_up_to

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def small_pools(monkeypatch):
    """Pools grow by a frame or two, so that frames are given up and their places used again."""
    monkeypatch.setattr(frame_pool, "GROWTH_BYTES", 4)
    monkeypatch.setattr(frame_pool, "BLOCK_BYTES", 20)


@pytest.fixture
def make(tmp_path):
    def make(kind=ReplayBuffer, folder="rows", frames=3, **changes):
        column = Column((3, 2, 2), np.uint8, frames=frames)
        options = {"state": column, "storage": "memmap", "path": tmp_path / folder} | changes
        return kind(9, **options)

    return make


@pytest.mark.parametrize("kind", BUFFERS)
def test_rows_in_files_are_those_in_memory(kind, make, assert_equal):
    in_files = make(BUFFERS[kind], extra=EPISODE)
    in_memory = BUFFERS[kind](9, state=state(), extra=EPISODE)
    streams = Stream(0, 2, pixels=4), Stream(0, 2, pixels=4)
    for step in range(30):
        for buffer, stream in zip((in_files, in_memory), streams, strict=True):
            buffer.add(stream.batch(1 + step % 4, task=step // 10))
            if step == 19:
                buffer.clear()
            if step % 10 == 9:
                buffer.end_task()
    same(stored(in_files), stored(in_memory))
    assert_equal(in_files.state_dict(), in_memory.state_dict())


@pytest.mark.parametrize("kind", [ReplayBuffer, ReservoirBuffer])
def test_made_again_it_holds_its_rows_and_finds_their_frames_again(kind, make):
    plain, stream, twin = (
        kind(9, state=state(frames=0)),
        Stream(0, 2, pixels=3),
        Stream(0, 2, pixels=3),
    )
    for step in range(20):
        buffer = make(kind)
        if kind is ReplayBuffer or not step:
            plain.add(twin.batch(1 + step % 4))
            buffer.add(stream.batch(1 + step % 4))
            same(stored(buffer), stored(plain))
        rows = stored(buffer)
        del buffer
        buffer = make(kind)
        same(stored(buffer), rows)
        about = buffer.describe()["frames"]
        (pool,) = buffer._storage._frames._pools.values()
        frames = np.concatenate([rows["state"], rows["next_state"]]).reshape(-1, 4)
        assert len(pool._index) == len({bytes(4), *(frame.tobytes() for frame in frames)})
        assert about["distinct"] == distinct(rows)
        del buffer, pool


class Killed(Exception):
    """Stands for the end of the process: what is in the files then is all there is."""


@pytest.mark.parametrize("kind", [ReplayBuffer, ReservoirBuffer])
@pytest.mark.parametrize("n", [1, 4, 7, 20])
@pytest.mark.parametrize("cut", ["rows", "clear"])
def test_what_was_cut_off_is_undone_with_the_frames_of_the_rows_put_back(
    kind, n, cut, make, monkeypatch, tmp_path
):
    buffer, stream = make(kind, seed=0), Stream(n, 1, pixels=256)
    for round in range(12):
        buffer.add(stream.batch(3))
        expected, seen = stored(buffer), buffer.seen

        def cut_off(seen, added):
            raise Killed

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(buffer._storage, "commit", cut_off)
            buffer.clear() if cut == "clear" else buffer.add(stream.batch(n))
        shutil.copytree(tmp_path / "rows", tmp_path / f"copy{round}")
        del buffer
        again = make(kind, folder=f"copy{round}")
        same(stored(again), expected)
        assert again.seen == seen
        del again
        buffer = make(kind, seed=round)
    assert buffer.seen == 36


ADDER = """
import sys
from buffers import ReplayBuffer, frame_pool
from tests.buffers.test_frames import Stream, state
frame_pool.GROWTH_BYTES = 4
buffer = ReplayBuffer(50, state=state(), storage="memmap", path=sys.argv[1])
stream = Stream(0, 2, pixels=256)
stream.batch(buffer.seen // 2) if buffer.seen else None
while True:
    buffer.add(stream.batch(1 + buffer.seen % 37))
    print(buffer.seen, flush=True)
"""


def test_killed_in_the_middle_of_adding_frames_it_comes_back_with_all_rows_added(tmp_path):
    for adds in (3, 200):
        command = [sys.executable, "-c", ADDER, str(tmp_path / "rows")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as adder:
            lines = [adder.stdout.readline() for _ in range(adds)]
            adder.send_signal(signal.SIGKILL)
            lines += adder.stdout.readlines()
        told = int(next(line for line in reversed(lines) if line.endswith("\n")))
        buffer = ReplayBuffer(50, state=state(), storage="memmap", path=tmp_path / "rows")
        assert buffer.seen in (told, told + 2 * (1 + told % 37))  # complete, but not told
        plain = ReplayBuffer(50, state=state(frames=0))
        plain.add(Stream(0, 2, pixels=256).batch(buffer.seen // 2))
        ours, theirs = stored(buffer), stored(plain)
        orders = [np.argsort(rows["action"]) for rows in (ours, theirs)]
        for name in ours:
            assert np.array_equal(ours[name][orders[0]], theirs[name][orders[1]]), name
        del buffer


@pytest.mark.parametrize("n", [1, 5])
def test_without_room_for_frames_the_rows_are_refused_and_the_memory_stays_as_it_was(
    n, make, assert_equal
):
    buffer, stream = make(), Stream(0, 1, pixels=256)
    buffer.add(stream.batch(1))  # more would leave room that is used again and again
    before = buffer.state_dict()
    (size,) = [f.stat().st_size for f in buffer._storage._folder.glob("frames*")]
    with files_up_to(size), pytest.raises(OSError):
        for _ in range(30):
            before = buffer.state_dict()
            buffer.add(stream.batch(n, ends=1))
    assert_equal(buffer.state_dict(), before)
    buffer.add(stream.batch(n))
    assert buffer.seen == before["seen"] + n


def test_a_file_of_frames_that_lacks_some_is_refused(make, tmp_path):
    buffer = make()
    buffer.add(Stream(0, pixels=256).batch(9))
    del buffer
    with (tmp_path / "rows" / "frames4.bin").open("r+b") as file:
        file.truncate(8)
    with pytest.raises(ValueError, match=r"frame \d+ is missing: there are 2"):
        make()


def test_files_with_rows_that_have_no_frames_are_refused(make):
    make(frames=0)
    with pytest.raises(ValueError, match=r"expected next_state .*3\], found"):
        make(frames=3)
