"""Bytes: known beforehand, refused where there are too few, and not taken before they are used."""

import re
from pathlib import Path

import numpy as np
import pytest

from buffers import BUFFERS, Column, HybridBuffer, ReplayBuffer, TaskReservoir, bytes_needed
from buffers.memory import available_bytes


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.uint8])
def test_bytes_are_known_before_anything_is_allocated(dtype):
    columns = {"state": Column((84, 84), dtype), "extra": {"q": Column((4,))}}
    assert ReplayBuffer(3, **columns).nbytes == bytes_needed(3, **columns)


def test_half_the_bits_are_half_the_bytes():
    single, half, byte = (
        bytes_needed(1000, state=Column((4, 84, 84), dtype))
        for dtype in (np.float32, np.float16, np.uint8)
    )
    assert half / single == pytest.approx(0.5, abs=0.001)
    assert byte / single == pytest.approx(0.25, abs=0.001)


@pytest.mark.parametrize("kind", BUFFERS)
def test_what_cannot_fit_is_refused_with_both_figures(kind, shape):
    rows = 10**13
    shape["extra"] |= getattr(BUFFERS[kind], "needs", {})
    with pytest.raises(MemoryError) as error:
        BUFFERS[kind](rows, **shape)
    needed, there = (
        int(number.replace(",", ""))
        for number in re.search(r"need ([\d,]+) bytes, ([\d,]+) are", str(error.value)).groups()
    )
    assert needed == bytes_needed(rows, **shape)
    assert 0 < there < needed


def test_a_task_for_which_there_is_no_memory_leaves_the_buffer_as_it_was(
    shape, filled, make_rows, monkeypatch, assert_equal
):
    buffer = filled(TaskReservoir(16, **shape))
    before = buffer.state_dict()
    monkeypatch.setattr("buffers.memory.available_bytes", lambda: 0)
    with pytest.raises(MemoryError):
        buffer.add(make_rows(60, 8, task=np.repeat([1, 2], 4)))
    assert_equal(buffer.state_dict(), before)


def test_a_limit_of_the_container_counts(monkeypatch):
    read = Path.read_text
    limits = {"/sys/fs/cgroup/memory.max": "1000\n", "/proc/meminfo": "MemAvailable:  2 kB\n"}
    monkeypatch.setattr(Path, "read_text", lambda p: limits.get(str(p)) or read(p))
    assert available_bytes() == 1000
    limits["/sys/fs/cgroup/memory.max"] = "max\n"
    assert available_bytes() == 2048


def resident() -> int:
    """Bytes of this process that are in memory."""
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])


@pytest.mark.parametrize("kind", [ReplayBuffer, HybridBuffer, TaskReservoir])
def test_rows_never_stored_take_no_memory(kind, make_rows, shape):
    before = resident()
    buffer = kind(5_000_000, **shape)
    buffer.add(make_rows(0, 1000, task=np.arange(1000) // 500))
    assert buffer.nbytes > 200e6
    assert resident() - before < buffer.nbytes / 5  # pages may be of 2 MB, several per array


def rows_with(n, state, **others):
    return {
        "state": state,
        "action": np.zeros(n, np.int64),
        "reward": np.zeros(n),
        "next_state": state,
        "done": np.zeros(n, bool),
    } | others


def test_half_precision_takes_single_rows_rounded_and_refuses_what_does_not_fit(assert_equal):
    extra = {"q": Column((), np.float16)}
    buffer = ReplayBuffer(4, state=Column((2,), np.float16), extra=extra)
    state = np.array([[0.1, 65504]], np.float32)
    buffer.add(rows_with(1, state, q=np.array([np.nan], np.float32)))
    stored = buffer.read([0])
    assert np.array_equal(stored["state"], state.astype(np.float16))
    assert np.isnan(stored["q"]).all()
    before = buffer.state_dict()
    for bad in ({"state": state * 2}, {"q": np.array([1e5], np.float32)}):
        with pytest.raises(ValueError, match=r"fit float16, up to 65504(\.0)?, given larger"):
            buffer.add(rows_with(1, state) | bad)
    with pytest.raises(ValueError, match="fit float16"):
        buffer.write([0], q=[1e5])
    assert_equal(buffer.state_dict(), before)


def test_images_in_bytes_are_stored_exactly_and_floats_are_refused():
    buffer = ReplayBuffer(4, state=Column((2, 3), np.uint8))
    image = np.arange(250, 256, dtype=np.uint8).reshape(1, 2, 3)
    buffer.add(rows_with(1, image))
    assert np.array_equal(buffer.read([0])["state"], image)
    with pytest.raises(ValueError, match=r"expected uint8 .*given float32 .*scale and convert"):
        buffer.add(rows_with(1, (image / 255).astype(np.float32)))
    with pytest.raises(ValueError, match="fit uint8, up to 255, given larger"):
        buffer.add(rows_with(1, image.astype(np.uint16) + 1))
