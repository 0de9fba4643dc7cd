import numpy as np
import pytest
from scipy.stats import chisquare

from buffers import Column, CoresetBuffer, ReplayBuffer, ReservoirBuffer


def actions(buffer):
    return buffer.read(buffer.rows())["action"].tolist()


def test_the_ring_overwrites_the_oldest(make_rows, shape):
    buffer = ReplayBuffer(4, **shape)
    assert buffer.add(make_rows(0, 3)).tolist() == [0, 1, 2]
    assert buffer.add(make_rows(3, 3)).tolist() == [3, 0, 1]
    assert actions(buffer) == [4, 5, 2, 3]
    assert len(buffer) == buffer.capacity == 4
    assert buffer.seen == 6


def test_of_a_batch_longer_than_the_ring_the_last_rows_stay(make_rows, shape, assert_whole):
    buffer = ReplayBuffer(4, **shape)
    buffer.add(make_rows(0, 1))
    assert buffer.add(make_rows(1, 9)).tolist() == [-1, -1, -1, -1, -1, 2, 3, 0, 1]
    assert actions(buffer) == [8, 9, 6, 7]
    assert_whole(buffer.read(buffer.rows()))


def test_columns_not_given_are_filled(shape):
    buffer = ReplayBuffer(4, **shape)
    buffer.add(
        {"state": [[1, 2]], "action": [3], "reward": [4], "next_state": [[5, 6]], "done": [True]}
    )
    row = buffer.read([0])
    assert (row["truncated"].tolist(), row["task"].tolist()) == ([False], [0])
    assert row["q"].tolist() == [[-1, -1, -1]]
    assert {name: str(values.dtype) for name, values in row.items()} == {
        "state": "float32",
        "action": "int64",
        "reward": "float32",
        "next_state": "float32",
        "done": "bool",
        "truncated": "bool",
        "task": "int32",
        "q": "float32",
    }


def test_columns_keep_the_dtype_and_shape_of_the_caller():
    buffer = ReplayBuffer(2, state=Column((2, 2), np.uint8), action=Column((3,), np.float64))
    pixels = np.array([[[0, 255], [1, 2]]], np.uint8)
    torque = np.array([[0.1, 0.2, 0.3]])
    buffer.add(
        {"state": pixels, "action": torque, "reward": [0], "next_state": pixels, "done": [False]}
    )
    data = buffer.sample(1).data
    assert data["next_state"].dtype == np.uint8
    assert np.array_equal(data["state"], pixels)
    assert np.array_equal(data["action"], torque)


def test_an_integer_too_large_for_its_column_is_refused(make_rows):
    buffer = ReplayBuffer(2, state=Column((2,)), action=Column((), np.int8))
    rows = {k: v for k, v in make_rows(127, 1).items() if k != "q"}
    buffer.add(rows)
    with pytest.raises(ValueError, match="'action': expected values that fit int8"):
        buffer.add(rows | {"action": np.array([128])})


def test_an_error_names_the_column_what_was_expected_and_what_was_given(make_rows, shape):
    buffer = ReplayBuffer(4, **shape)
    message = r"^column 'q': expected float32 \[2, 3\], given int64 \[2, 4\]$"
    with pytest.raises(ValueError, match=message):
        buffer.add(make_rows(0, 2) | {"q": np.zeros((2, 4), int)})


def test_every_stored_row_is_drawn_equally_often(make_rows, shape):
    buffer = ReplayBuffer(10, **shape)
    buffer.add(make_rows(0, 25))
    counts = np.bincount(buffer.sample(20_000).data["action"], minlength=25)
    assert counts[:15].sum() == 0
    assert chisquare(counts[15:]).pvalue > 0.001


def test_rows_not_yet_written_are_never_drawn(make_rows, shape):
    buffer = ReplayBuffer(1_000, **shape)
    buffer.add(make_rows(0, 3))
    assert set(buffer.sample(200).index) == {0, 1, 2}


def test_the_end_of_a_task_clears_only_on_request(make_rows, shape):
    for clear, left in ((False, 3), (True, 0)):
        buffer = ReplayBuffer(4, clear_at_switch=clear, **shape)
        buffer.add(make_rows(0, 3))
        buffer.end_task()
        assert len(buffer) == left


def test_after_a_clear_the_ring_starts_over_and_ages_go_on(make_rows, shape):
    buffer = ReplayBuffer(4, **shape)
    buffer.add(make_rows(0, 3))
    buffer.clear()
    assert buffer.add(make_rows(3, 2)).tolist() == [0, 1]
    assert buffer.ages().tolist() == [1, 0]


def test_a_half_filled_state_holds_only_the_filled_rows(make_rows, shape):
    buffer = ReplayBuffer(1_000, **shape)
    buffer.add(make_rows(0, 3))
    state = buffer.state_dict()
    assert state["column.state"].shape == (3, 2)
    assert state["born"].tolist() == [0, 1, 2]


def test_describe_by_hand(make_rows, shape):
    buffer = ReplayBuffer(4, **shape)
    buffer.add(make_rows(0, 6, task=np.array([0, 0, 0, 7, 7, 7])))
    row_bytes = 2 * 2 * 4 + 8 + 4 + 1 + 1 + 4 + 3 * 4 + 8
    assert buffer.describe() == {
        "kind": "ReplayBuffer",
        "rows": 4,
        "capacity": 4,
        "seen": 6,
        "bytes": 4 * row_bytes,
        "share": {"0": 0.25, "7": 0.75},
        "age": {"min": 0, "median": 1.5, "max": 3},
        "ages": {"edges": [0, 1, 2, 4], "rows": [1, 1, 2]},
    }


@pytest.mark.parametrize("kind", [ReplayBuffer, ReservoirBuffer])
@pytest.mark.parametrize("capacity", [4, 10])  # less and more than a batch
def test_a_new_idea_overrides_one_function(make_rows, shape, assert_whole, kind, capacity):
    class FirstSlotOnly(kind):
        def _admit(self, rows):
            super()._admit(rows)
            return np.where(np.arange(len(rows["task"])) % 2, -1, 0)

        def __len__(self):
            return min(self._added, 1)

    buffer = FirstSlotOnly(capacity, **shape)
    for first in (0, 6, 12):
        assert buffer.add(make_rows(first, 6)).tolist() == [-1, -1, -1, -1, 0, -1]
        assert actions(buffer) == [first + 4]
    assert_whole(buffer.read([0]))


@pytest.mark.parametrize("kind", [ReplayBuffer, ReservoirBuffer, CoresetBuffer])
@pytest.mark.parametrize("function", ["_admit", "_put"])
def test_a_new_idea_is_asked_about_rows_that_come_alone(make_rows, shape, kind, function):
    asked = []

    def own(self, *given):
        asked.append(given[-1].n)
        return getattr(kind, function)(self, *given)

    buffer = type("Own", (kind,), {function: own})(4, **shape)
    for first in range(9):
        buffer.add(make_rows(first, 1))
    assert asked == [1] * 9


def test_a_ring_that_was_just_cleared_does_not_say_that_all_fits(shape, make_rows):
    buffer = ReplayBuffer(4, clear_at_switch=True, **shape)
    buffer.add(make_rows(0, 3))
    assert "all 3 rows" in buffer.idle()
    buffer.end_task()
    assert buffer.idle() is None
