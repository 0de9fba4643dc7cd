"""Columns: what cannot be one is refused when a buffer is made, in one line that names it."""

import numpy as np
import pytest

from buffers import Column, ReplayBuffer

NAN = float("nan")


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (Column(4), r"expected a shape such as \(4,\), given 4"),
        (Column("ab"), r"expected a shape such as \(4,\), given 'ab'"),
        (Column((2.5,)), r"expected a shape such as \(4,\), given \(2.5,\)"),
        (Column((-1,)), r"expected a shape such as \(4,\), given \(-1,\)"),
        (Column((), "float3"), "expected a bool, int or float dtype, given float3"),
        (Column((), np.complex64), "expected a bool, int or float dtype, given complex64"),
        (Column((), np.uint8, 300), "expected a fill that fits uint8, given 300"),
        (Column((), np.uint8, -1), "expected a fill that fits uint8, given -1"),
        (Column((), np.int64, 0.5), "expected a fill that fits int64, given 0.5"),
        (Column((), np.int64, NAN), "expected a fill that fits int64, given nan"),
        (Column((), np.float16, 1e6), "expected a fill that fits float16, given 1000000.0"),
        (Column((), np.int64, 2**70), r"expected a fill that fits int64, given 1\d+"),
        (Column((), np.int64, "x"), "expected a fill that fits int64, given 'x'"),
        (Column((), np.float32, "x"), "expected a fill that fits float32, given 'x'"),
        (Column((), np.float32, None), "expected a fill that fits float32, given None"),
        (Column((), bool, None), "expected a fill that fits bool, given None"),
        ((4,), r"expected a Column, given \(4,\)"),
    ],
)
def test_what_cannot_be_a_column_is_refused(column, words):
    with pytest.raises(ValueError, match=f"column 'q': {words}"):
        ReplayBuffer(4, state=Column(), extra={"q": column})


def test_a_column_needs_a_name():
    with pytest.raises(ValueError, match="column '': expected text"):
        ReplayBuffer(4, state=Column(), extra={"": Column()})


@pytest.mark.parametrize(
    ("dtype", "fill"), [(np.float32, NAN), (np.float32, 0.1), (np.float32, 2**70), (bool, True)]
)
def test_what_is_not_given_has_the_fill_rounded_to_its_dtype(dtype, fill):
    buffer = ReplayBuffer(4, state=Column(), extra={"q": Column((2,), dtype, fill)})
    zeros = np.zeros(1)
    buffer.add({"state": zeros, "next_state": zeros, "action": zeros.astype(int),
                "reward": zeros, "done": zeros > 0})  # fmt: skip
    stored = buffer.read([0])["q"]
    assert stored.tobytes() == np.full((1, 2), fill, dtype).tobytes()
