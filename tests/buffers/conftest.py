"""Rows whose every column tells which row it is, so that a torn row shows."""

from collections import Counter
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest

from buffers import Column, Memory

SHAPE = {"state": Column((2,)), "extra": {"q": Column((3,), fill=-1)}}


def rows_of(first: int, n: int, task: int | np.ndarray = 0) -> dict[str, np.ndarray]:
    i = np.arange(first, first + n)
    return {
        "state": np.stack([i, i + 0.25], 1),
        "action": i,
        "reward": i + 0.5,
        "next_state": np.stack([i + 1, i + 1.25], 1),
        "done": i % 3 == 0,
        "truncated": i % 5 == 0,
        "task": np.broadcast_to(task, n),
        "q": np.stack([i, -i, 2 * i], 1),
    }


@pytest.fixture
def make_rows() -> Callable[..., dict[str, np.ndarray]]:
    return rows_of


@pytest.fixture
def shape() -> dict:
    """Constructor arguments that fit `make_rows`."""
    return {**SHAPE, "extra": dict(SHAPE["extra"])}


@pytest.fixture
def assert_whole() -> Callable[[dict[str, np.ndarray]], None]:
    """Every column of a row is that of the row whose number is its action."""

    def check(data: dict[str, np.ndarray]) -> None:
        for i, number in enumerate(data["action"]):
            for name, value in rows_of(int(number), 1).items():
                if name != "task":
                    assert np.array_equal(data[name][i], value[0]), (number, name)

    return check


@pytest.fixture
def assert_equal() -> Callable[[dict, dict], None]:
    """Two dicts have the same keys and bitwise the same values."""

    def check(a: dict, b: dict) -> None:
        assert a.keys() == b.keys()
        for key, value in a.items():
            if isinstance(value, np.ndarray):
                assert value.dtype == b[key].dtype
                assert value.shape == b[key].shape
                assert value.tobytes() == b[key].tobytes(), key
            else:
                assert value == b[key], key

    return check


@pytest.fixture
def filled() -> Callable[[Memory], Memory]:
    """Two tasks of 30 rows each have passed through the buffer; the second is going on."""

    def fill(buffer: Memory) -> Memory:
        for first in range(0, 60, 5):
            if first == 30:
                buffer.end_task()
            buffer.add(rows_of(first, 5, task=first // 30))
        return buffer

    return fill


@pytest.fixture
def kept_by() -> Callable[[Memory], tuple[int, ...]]:
    """The numbers of the rows that a buffer holds, sorted."""
    return lambda buffer: tuple(sorted(buffer.read(buffer.rows())["action"].tolist()))


@pytest.fixture
def assert_all_subsets_equally_often() -> Callable[[Counter, int, int], None]:
    """Of so many rows every subset of that size was found, each about as often (chi-square)."""
    from scipy.stats import chisquare  # a process that only makes rows does not wait for SciPy

    def check(found: Counter, rows: int, size: int) -> None:
        counts = [found[subset] for subset in combinations(range(rows), size)]
        assert sum(counts) == found.total()
        assert 0.001 < chisquare(counts).pvalue < 0.999

    return check
