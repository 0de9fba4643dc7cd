import numpy as np
import pytest

from buffers import Column, ReplayBuffer
from buffers.columns import make_columns
from buffers.intake import Intake
from buffers.layout import Layout


@pytest.fixture
def intake(shape):
    return Intake(Layout(make_columns(shape["state"], Column((), np.int64), shape["extra"])))


def as_stored(rows, shape):
    """Rows in the dtypes of their columns, which are checked the short way."""
    columns = ReplayBuffer(1, **shape).columns
    return {k: np.ascontiguousarray(v, columns[k].dtype) for k, v in rows.items()}


def test_rows_checked_for_other_columns_are_checked_again(intake, make_rows, shape):
    checked = intake.checked(make_rows(0, 3))
    wide = ReplayBuffer(8, **shape | {"state": Column((3,))})
    with pytest.raises(ValueError, match=r"'state': expected float32 \[3, 3\]"):
        wide.add(checked)
    exact = ReplayBuffer(8, **shape | {"state": Column((2,), np.float64)})
    checked.pack(intake._layout)
    exact.add(checked)
    assert exact.read([2])["state"].tolist() == [[2, 2.25]]


def test_runs_of_few_rows_are_packed_once_and_are_always_the_rows_of_now(
    intake, make_rows, shape, assert_whole
):
    for first in (0, 10, 20, 30):
        rows = intake.checked(as_stored(make_rows(first, 6), shape))
        edges = (0, 2, 2, 6) if first < 30 else (0, 3, 6)
        runs = rows.runs(intake._layout, edges)
        assert [run.n for run in runs] == np.diff(edges).tolist()
        assert np.concatenate([run["action"] for run in runs]).tolist() == [
            *range(first, first + 6)
        ]
        for run in runs:
            assert run.packed is not None
            assert_whole({name: run[name] for name in run})
