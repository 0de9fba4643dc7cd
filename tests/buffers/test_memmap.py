"""Rows in files: the same buffer, still there after a crash, and refused where it does not fit."""

import errno
import gc
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from buffers import (
    BUFFERS,
    Column,
    CoresetBuffer,
    HybridBuffer,
    ReplayBuffer,
    ReservoirBuffer,
    SkipReservoir,
    TaskReservoir,
)
from buffers.rows import Rows


@pytest.fixture
def make(shape, tmp_path):
    """A buffer in files; made again, it is the one that was there."""

    def make(kind=ReplayBuffer, capacity=16, folder="rows", **changes):
        return kind(capacity, storage="memmap", path=tmp_path / folder, **shape | changes)

    return make


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file may be larger: the kernel refuses room for it, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("kind", BUFFERS)
def test_it_does_the_same_as_in_memory(kind, make, shape, filled, make_rows, assert_equal):
    needed = dict(getattr(BUFFERS[kind], "needs", {}))
    needed.pop("last", None)  # without it an episode ends where a row is done
    extra = {"extra": shape["extra"] | needed}
    in_files = filled(make(BUFFERS[kind], **extra))
    in_memory = filled(BUFFERS[kind](16, **shape | extra))
    for first, n in ((60, 1), (61, 40), (101, 3)):
        rows = make_rows(first, n, task=2)
        assert np.array_equal(in_files.add(rows), in_memory.add(rows))
    if in_memory.drawable:
        assert_equal(in_files.sample(30).data, in_memory.sample(30).data)
    assert_equal(in_files.state_dict(), in_memory.state_dict())


@pytest.mark.parametrize("kind", [ReplayBuffer, ReservoirBuffer])
def test_made_again_it_holds_what_it_held(kind, make, filled, make_rows, assert_equal):
    buffer = filled(make(kind))
    rows, ages, seen = buffer.read(buffer.rows()), buffer.ages(), buffer.seen
    del buffer
    again = make(kind)
    assert_equal(again.read(again.rows()), rows)
    assert np.array_equal(again.ages(), ages)
    assert again.seen == seen
    again.add(make_rows(60, 7, task=1))
    assert len(again) == 16
    assert again.ages().min() >= 0


def test_made_again_a_reservoir_draws_other_numbers(make, make_rows):
    first = make(ReservoirBuffer)
    first.add(make_rows(0, 16))
    before = first.sample(50).index
    del first
    assert not np.array_equal(make(ReservoirBuffer).sample(50).index, before)


def test_what_is_written_or_cleared_lasts(make, filled, make_rows):
    buffer = filled(make())
    buffer.write(buffer.rows(), reward=np.full(16, 7))
    del buffer
    buffer = make()
    assert set(buffer.read(buffer.rows())["reward"]) == {7}
    buffer.clear()
    del buffer
    buffer = make()
    assert (len(buffer), buffer.seen) == (0, 60)
    buffer.add(make_rows(60, 3))
    del buffer
    assert make().ages().tolist() == [2, 1, 0]


class Killed(Exception):
    """Stands for the end of the process: what is in the files then is all there is."""


@pytest.mark.parametrize("kind", [ReplayBuffer, ReservoirBuffer])
@pytest.mark.parametrize("n", [1, 5, 12])
@pytest.mark.parametrize("columns", [0, 1, 4])
def test_an_add_that_was_cut_off_is_undone(
    kind, n, columns, make, filled, make_rows, monkeypatch, tmp_path, assert_equal
):
    buffer = filled(make(kind))
    buffer.add({k: v.astype(buffer.columns[k].dtype) for k, v in make_rows(60, 1).items()})
    expected, seen = buffer.read(buffer.rows()), buffer.seen
    storage, born = buffer._storage, buffer._storage.born.copy()

    def cut_off(seen: int, added: int) -> None:
        raise Killed  # after all rows are written

    def write_some(self: Rows, views: dict[str, np.ndarray], first: int) -> None:
        for name in list(views)[:columns]:
            views[name][first : first + self.n] = self[name]
        if columns < 4 and views is storage.data:
            raise Killed

    monkeypatch.setattr(storage, "commit", cut_off)
    monkeypatch.setattr(Rows, "write", write_some)
    with pytest.raises(Killed):
        for first in range(61, 200, n):  # a reservoir may drop the first ones
            buffer.add(make_rows(first, n, task=1))
    shutil.copytree(tmp_path / "rows", tmp_path / "copy")
    again = make(kind, folder="copy")
    assert_equal(again.read(again.rows()), expected)
    assert again.seen == seen
    assert np.array_equal(again._storage.born, born)


ADDER = """
import sys
import numpy as np
from buffers import Column, ReplayBuffer
from tests.buffers.conftest import rows_of
buffer = ReplayBuffer(50, state=Column((2,)), extra={"q": Column((3,))},
                      storage="memmap", path=sys.argv[1])
done = buffer.seen
while True:
    n = 1 + done % 37
    buffer.add(rows_of(done, n))
    done += n
    print(done, flush=True)
"""


def test_killed_in_the_middle_of_adding_it_comes_back_with_all_rows_added(tmp_path, assert_whole):
    for adds in (3, 40, 200):
        command = [sys.executable, "-c", ADDER, str(tmp_path / "rows")]
        root = Path(__file__).parents[2]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as adder:
            lines = [adder.stdout.readline() for _ in range(adds)]
            adder.send_signal(signal.SIGKILL)
            lines += adder.stdout.readlines()
        told = int(next(line for line in reversed(lines) if line.endswith("\n")))
        buffer = ReplayBuffer(
            50, state=Column((2,)), extra={"q": Column((3,))},
            storage="memmap", path=tmp_path / "rows",
        )  # fmt: skip
        assert buffer.seen in (told, told + 1 + told % 37)  # an add may be complete and not told
        held = buffer.read(buffer.rows())
        newest = np.arange(max(buffer.seen - 50, 0), buffer.seen)
        assert sorted(held["action"]) == newest.tolist()
        assert np.array_equal(buffer.seen - 1 - held["action"], buffer.ages())
        assert_whole(held)
        del buffer


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"capacity": 17}, "expected capacity 17, found 16"),
        ({"kind": ReservoirBuffer}, "expected kind ReservoirBuffer, found ReplayBuffer"),
        ({"state": Column((3,))}, "expected next_state .*3.*, found .*2"),
        ({"state": Column((2,), np.float16)}, "expected next_state .*f2.*, found .*f4"),
        ({"extra": {}}, "expected q None, found"),
        ({"extra": {"q": Column((3,)), "p": Column()}}, "expected p .*, found None"),
    ],
)
def test_files_of_another_buffer_are_refused_and_left_alone(
    changes, message, make, filled, assert_equal
):
    buffer = filled(make())
    rows = buffer.read(buffer.rows())
    del buffer
    with pytest.raises(ValueError, match=message) as error:
        make(**changes)
    assert "\n" not in str(error.value)
    del error
    gc.collect()  # the traceback held the lock
    again = make()
    assert_equal(again.read(again.rows()), rows)


def test_a_file_of_another_length_is_refused(make, filled, tmp_path):
    del filled
    make()
    os.truncate(tmp_path / "rows" / "rows0.bin", 40)
    with pytest.raises(ValueError, match=r"rows0.bin: expected \d+ bytes, found 40"):
        make()


@pytest.mark.parametrize("broken", [b'{"version": 1, "ki', b"\xff\xff", b"[]"])
def test_a_folder_whose_description_is_broken_is_refused_by_its_name(make, tmp_path, broken):
    make()
    (tmp_path / "rows" / "about.json").write_bytes(broken)
    with pytest.raises(ValueError, match=r"rows/about.json: expected what a buffer has written"):
        make()


def test_files_that_another_buffer_writes_to_are_refused(make):
    buffer = make()
    with pytest.raises(ValueError, match="in use"):
        make()
    assert len(buffer) == 0


@pytest.mark.parametrize("kind", [HybridBuffer, TaskReservoir, BUFFERS["balanced"]])
def test_a_buffer_that_is_more_than_rows_cannot_be_made_again(kind, make, filled):
    filled(make(kind))
    with pytest.raises(ValueError, match="load a saved state"):
        make(partial(kind))


def test_files_left_while_a_state_was_loaded_are_refused(make, filled, monkeypatch):
    buffer = filled(make())
    state = buffer.state_dict()
    with monkeypatch.context() as patch:
        patch.setattr(buffer._storage, "commit", lambda *_: None)
        buffer.load_state_dict(state)
    del buffer
    with pytest.raises(ValueError, match="middle of a load"):
        make()


def test_a_loaded_state_lasts(make, filled, make_rows, assert_equal):
    state = filled(make()).state_dict()
    buffer = make(folder="other")
    buffer.add(make_rows(0, 3))
    buffer.load_state_dict(state)
    del buffer
    again = make(folder="other")
    assert_equal(again.read(again.rows()), {k: state[f"column.{k}"] for k in again.columns})


def test_without_room_on_the_disk_nothing_is_made(make, tmp_path):
    with files_up_to(10_000), pytest.raises(OSError) as error:
        make(capacity=1_000_000)
    assert error.value.errno in (errno.EFBIG, errno.ENOSPC)
    figures = r"for [\d,]{7,} more bytes, [\d,]+ were free: .*rows/\w+\.bin"
    assert re.search(figures, str(error.value))
    assert not (tmp_path / "rows").exists()
    assert len(make()) == 0


def test_without_room_for_a_new_task_the_memory_stays_as_it_was(
    make, filled, make_rows, assert_equal
):
    buffer = filled(make(TaskReservoir))
    before = buffer.state_dict()
    tasks = np.repeat([1, 2], 4)
    with files_up_to(600), pytest.raises(OSError):
        buffer.add(make_rows(60, 8, task=tasks))
    assert_equal(buffer.state_dict(), before)
    buffer.add(make_rows(60, 8, task=tasks))
    assert len(buffer.rows(2)) == 4


def test_files_that_could_not_all_grow_are_as_long_as_before_and_sound(make, filled, tmp_path):
    buffer = filled(make(capacity=16))
    sizes = {file: file.stat().st_size for file in (tmp_path / "rows").iterdir()}
    with files_up_to(max(sizes.values()) * 2), pytest.raises(OSError):
        buffer._storage.grow(40)
    assert {file: file.stat().st_size for file in (tmp_path / "rows").iterdir()} == sizes
    del buffer
    assert len(make(capacity=16)) == 16


def test_without_room_to_undo_a_batch_it_is_refused_and_the_memory_stays_as_it_was(
    make, filled, make_rows, assert_equal
):
    buffer = filled(make(capacity=500))
    before = buffer.state_dict()
    with files_up_to(2_000), pytest.raises(OSError):
        buffer.add(make_rows(60, 300, task=1))
    assert_equal(buffer.state_dict(), before)


@pytest.mark.parametrize("kind", [ReservoirBuffer, SkipReservoir, CoresetBuffer])
def test_a_memory_that_had_no_room_for_a_batch_goes_on_as_if_it_had_not_come(
    make, filled, make_rows, kept_by, kind
):
    buffer = filled(make(kind, capacity=500))
    with files_up_to(2_000), pytest.raises(OSError):
        buffer.add(make_rows(60, 1_000))
    assert buffer.add(make_rows(60, 9)).tolist() == [*range(60, 69)]
    assert kept_by(buffer) == tuple(range(69))


def test_what_is_kept_to_undo_an_add_does_not_grow_with_the_adds(make, make_rows, tmp_path, shape):
    extra = shape["extra"] | {"episode": Column((), np.int64)}
    buffer, sizes = make(BUFFERS["episodes"], extra=extra), []
    for first in range(0, 600, 6):
        buffer.add(make_rows(first, 6) | {"episode": np.zeros(6, int)})
        sizes.append((tmp_path / "rows" / "undo_slots.bin").stat().st_size)
    assert sizes[20] == sizes[-1]


def test_what_is_in_files_is_not_pickled(make):
    with pytest.raises(TypeError, match="state_dict"):
        pickle.dumps(make())


@pytest.mark.parametrize(
    ("name", "hint"),
    [("disk", "known are memory, memmap"), ("mmap", r"did you mean memmap\?"), (None, "known are")],
)
def test_a_storage_that_is_unknown_is_said_to_be(name, hint, shape):
    with pytest.raises(ValueError, match=f"^unknown storage {name!r}; {hint}"):
        ReplayBuffer(4, **shape, storage=name)


@pytest.mark.parametrize("kind", [{"storage": "memmap"}, {"path": "x"}])
def test_a_folder_is_given_with_memmap_and_only_then(kind, shape, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="storage"):
        ReplayBuffer(4, **shape, **kind)
