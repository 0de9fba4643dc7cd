import numpy as np
import pytest

from buffers import CoresetBuffer, GradientBuffer, HybridBuffer, PrioritizedBuffer, ReservoirBuffer


@pytest.fixture
def two_tasks(make_rows, shape):
    """30 rows of task 0, then 20 of task 1, which is going on."""

    def build(**options):
        buffer = HybridBuffer(16, rows_per_task=8, **shape, **options)
        buffer.add(make_rows(0, 30, task=0))
        buffer.end_task()
        buffer.add(make_rows(30, 20, task=1))
        return buffer

    return build


@pytest.mark.parametrize(
    ("share", "minibatch"), [(0.5, 2), (0.5, 64), (0.25, 4), (0.75, 8), (0.1, 10), (0.29, 100)]
)
def test_every_minibatch_has_exactly_the_same_share(two_tasks, share, minibatch):
    buffer = two_tasks(share=share)
    old = buffer.sample(50 * minibatch).index % 2 == 1
    assert set(old.reshape(50, minibatch).sum(1)) == {round(share * minibatch)}


def test_the_share_by_hand(two_tasks):
    old = two_tasks(share=0.4).sample(10).index % 2 == 1
    assert old.astype(int).tolist() == [0, 1, 0, 1, 0, 0, 1, 0, 1, 0]


@pytest.mark.parametrize(("share", "tasks"), [(0, {1}), (1, {0})])
def test_a_share_of_none_or_all(two_tasks, share, tasks):
    assert set(two_tasks(share=share).sample(100).data["task"].tolist()) == tasks


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_0_to_1_is_refused(two_tasks, share):
    with pytest.raises(ValueError, match="choose 0 to 1"):
        two_tasks(share=share)


def test_memory_never_gives_a_row_of_the_current_task(two_tasks, make_rows):
    buffer = two_tasks()
    for first in range(50, 150, 10):
        buffer.add(make_rows(first, 10, task=1))
        sample = buffer.sample(40)
        assert np.array_equal(sample.data["task"] == 0, sample.index % 2 == 1)


def test_in_the_first_task_all_rows_are_recent(make_rows, shape):
    buffer = HybridBuffer(16, **shape)
    buffer.add(make_rows(0, 30))
    assert (buffer.sample(100).index % 2 == 0).all()


def test_right_after_a_switch_all_rows_are_from_memory(two_tasks):
    buffer = two_tasks()
    buffer.end_task()
    assert len(buffer.recent) == 0
    sample = buffer.sample(200)
    assert (sample.index % 2 == 1).all()
    assert set(sample.data["task"].tolist()) == {0, 1}


def test_recent_rows_stay_at_a_switch_on_request(two_tasks):
    buffer = two_tasks(clear_at_switch=False)
    buffer.end_task()
    assert len(buffer.recent) == 16
    assert (buffer.sample(100).index % 2 == 0).sum() == 50


def test_a_task_that_returns_is_learnt_from_recent_rows_and_the_other_from_memory(
    two_tasks, make_rows
):
    buffer = two_tasks()
    buffer.end_task()
    buffer.add(make_rows(100, 5, task=0))
    sample = buffer.sample(100)
    recent = sample.index < 16
    assert recent.sum() == 50
    assert set(sample.data["task"][recent].tolist()) == {0}
    assert set(sample.data["task"][~recent].tolist()) == {1}
    assert set(sample.data["action"][recent].tolist()) == {100, 101, 102, 103, 104}


def test_sampled_rows_are_whole_also_after_storage_grew(two_tasks, make_rows, assert_whole):
    buffer = two_tasks()
    for task in range(2, 6):
        buffer.end_task()
        buffer.add(make_rows(100 * task, 20, task=task))
    sample = buffer.sample(200)
    assert_whole(sample.data)
    assert set(sample.data["task"][1::2].tolist()) == {0, 1, 2, 3, 4}


def test_recent_rows_have_even_indices_and_those_of_memory_odd_ones(two_tasks):
    buffer = two_tasks()
    assert buffer.rows().tolist() == [*range(0, 32, 2), *range(1, 33, 2)]
    assert buffer.rows(0).tolist() == [*range(1, 17, 2)]
    assert len(buffer) == buffer.capacity == 16 + 8 + 8


def test_a_write_reaches_the_part_that_the_index_names(two_tasks):
    buffer = two_tasks()
    buffer.write([9, 6, 9], reward=[5, 6, 7])
    assert buffer.read([6, 9])["reward"].tolist() == [6, 7]
    assert buffer.recent.read([3])["reward"].tolist() == [6]
    assert buffer.memory.read([4])["reward"].tolist() == [7]


def test_the_description_names_both_parts_and_the_share_of_all_rows(two_tasks):
    buffer = two_tasks()
    about = buffer.describe()
    assert about["share"] == {"0": 0.25, "1": 0.75}
    assert about["parts"]["recent"] == buffer.recent.describe()
    assert about["parts"]["memory"]["share"] == {"0": 0.5, "1": 0.5}
    assert about["bytes"] == sum(part["bytes"] for part in about["parts"].values())


def test_a_bad_part_of_a_state_leaves_the_other_part_alone(two_tasks, assert_equal):
    buffer, state = two_tasks(seed=1), two_tasks(seed=2).state_dict()
    before = buffer.state_dict()
    for part in ("recent", "memory"):
        with pytest.raises(ValueError):
            buffer.load_state_dict(state | {f"{part}.seen": -1})
        assert_equal(buffer.state_dict(), before)


def test_the_state_of_another_kind_of_buffer_is_refused(two_tasks):
    buffer = two_tasks()
    with pytest.raises(ValueError):
        buffer.load_state_dict(buffer.recent.state_dict())
    with pytest.raises(ValueError):
        buffer.recent.load_state_dict(buffer.state_dict())


def test_rows_of_the_current_task_are_drawn_from_memory_on_request(make_rows, shape):
    buffer = HybridBuffer(4, rows_per_task=8, draw_current=True, **shape)
    buffer.add(make_rows(0, 100))
    sample = buffer.sample(40)
    assert (sample.index % 2 == 1).sum() == 20
    assert sample.data["action"][sample.index % 2 == 0].min() >= 96
    assert sample.data["action"][sample.index % 2 == 1].min() < 96


@pytest.mark.parametrize(
    ("kinds", "needed"),
    [
        ({}, False),
        ({"recent_kind": PrioritizedBuffer}, True),
        ({"kind": GradientBuffer}, True),
        ({"kind": CoresetBuffer}, False),
        ({"kind": ReservoirBuffer}, False),
    ],
)
def test_errors_are_looked_at_where_a_part_makes_use_of_them(kinds, needed, make_rows, shape):
    buffer = HybridBuffer(4, rows_per_task=8, **kinds, **shape)
    buffer.add(make_rows(0, 4))
    assert buffer.needs_feedback == needed
    if needed:
        with pytest.raises(ValueError, match="expected finite TD errors"):
            buffer.feedback(buffer.rows(), np.full(len(buffer), np.nan))
