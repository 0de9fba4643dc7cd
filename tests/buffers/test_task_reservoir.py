import numpy as np
import pytest
from scipy.stats import chi2, chisquare

from buffers import BalancedReservoir, TaskReservoir

STREAM, KEPT, SEEDS = 60, 6, 160


def kept_counts(make_rows, shape, batch, tasks):
    """How often each row of a stream is kept, over many seeds."""
    counts = np.zeros(STREAM)
    for seed in range(SEEDS):
        buffer = TaskReservoir(KEPT, **shape, seed=seed)
        for first in range(0, STREAM, batch):
            buffer.add(make_rows(first, batch, tasks[first : first + batch]))
        counts[buffer.read(buffer.rows())["action"]] += 1
    return counts


def assert_uniform(counts, kept):
    """`kept` different ones of the rows in each seed, all equally likely."""
    assert counts.sum() == SEEDS * kept
    rows = len(counts)
    # Rows kept together cannot repeat, so counts vary less than those of a multinomial.
    statistic = chisquare(counts).statistic / (1 - kept / rows) * (rows - 1) / rows
    assert chi2.ppf(0.001, rows - 1) < statistic < chi2.ppf(0.999, rows - 1)


@pytest.mark.parametrize("batch", [1, 5, STREAM])
def test_every_row_of_a_task_is_kept_equally_often(make_rows, shape, batch):
    assert_uniform(kept_counts(make_rows, shape, batch, np.zeros(STREAM, int)), KEPT)


def test_tasks_mixed_in_one_batch_are_sampled_apart(make_rows, shape):
    tasks = (np.arange(STREAM) % 3 == 0).astype(int)  # 40 rows of task 0 and 20 of task 1
    counts = kept_counts(make_rows, shape, 12, tasks)
    assert_uniform(counts[tasks == 0], KEPT)
    assert_uniform(counts[tasks == 1], KEPT)


def test_the_first_rows_of_a_task_are_all_kept(make_rows, shape):
    buffer = TaskReservoir(4, **shape)
    assert buffer.add(make_rows(0, 4, task=9)).tolist() == [0, 1, 2, 3]
    assert buffer.add(make_rows(4, 3, task=2)).tolist() == [4, 5, 6]
    assert buffer.rows().tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert buffer.rows(2).tolist() == [4, 5, 6]


def test_storage_grows_by_one_block_per_task_and_rows_survive_it(make_rows, shape, assert_whole):
    buffer = TaskReservoir(5, **shape)
    for task in range(4):
        buffer.add(make_rows(100 * task, 50, task=task))
        assert buffer.capacity == len(buffer) == 5 * (task + 1)
    stored = buffer.read(buffer.rows())
    assert_whole(stored)
    assert np.array_equal(stored["action"] // 100, stored["task"])


def test_a_task_keeps_its_rows_whatever_comes_after(make_rows, shape):
    buffer = TaskReservoir(5, **shape)
    buffer.add(make_rows(0, 50, task=0))
    before = buffer.read(buffer.rows(0))
    buffer.add(make_rows(50, 1_000, task=1))
    after = buffer.read(buffer.rows(0))
    assert np.array_equal(after["action"], before["action"])


def test_the_current_task_is_never_drawn(make_rows, shape):
    buffer = TaskReservoir(5, **shape)
    for task in (0, 1, 2, 1):
        buffer.add(make_rows(0, 20, task=task))
    drawn = set(buffer.sample(300).data["task"].tolist())
    assert drawn == {0, 2}
    assert buffer.drawable == 10


def test_rows_of_another_task_in_the_same_batch_can_be_drawn_at_once(make_rows, shape):
    buffer = TaskReservoir(9, **shape)
    buffer.add(make_rows(0, 4, task=np.array([0, 0, 1, 1])))
    assert buffer.drawable == 2
    buffer.add(make_rows(4, 4, task=np.array([0, 0, 1, 1])))
    assert buffer.drawable == 4
    assert set(buffer.sample(200).data["action"].tolist()) == {0, 1, 4, 5}


def test_what_draws_the_current_task_too_lacks_rows_and_no_other_task(shape):
    with pytest.raises(ValueError, match="empty buffer; add rows first"):
        BalancedReservoir(5, **shape).sample(1)


def test_a_task_that_ended_counts_as_earlier_until_a_row_comes(make_rows, shape):
    buffer = TaskReservoir(5, **shape)
    buffer.add(make_rows(0, 20, task=0))
    assert buffer.drawable == 0
    with pytest.raises(ValueError, match="no row of an earlier task"):
        buffer.sample(1)
    buffer.end_task()
    assert buffer.drawable == 5
    assert set(buffer.sample(50).data["task"].tolist()) == {0}
    buffer.add(make_rows(20, 0, task=0))
    assert buffer.drawable == 5
    buffer.add(make_rows(20, 1, task=0))
    assert buffer.drawable == 0


def test_rows_of_earlier_tasks_are_drawn_equally_often(make_rows, shape):
    buffer = TaskReservoir(5, **shape)
    buffer.add(make_rows(0, 2, task=0))  # a task that does not fill its block
    buffer.add(make_rows(10, 50, task=1))
    buffer.add(make_rows(60, 50, task=2))
    buffer.add(make_rows(110, 3, task=3))
    index, counts = np.unique(buffer.sample(24_000).index, return_counts=True)
    assert index.tolist() == [0, 1, *range(5, 15)]
    assert chisquare(counts).pvalue > 0.001


def test_a_task_that_returns_goes_on_in_its_block(make_rows, shape):
    buffer = TaskReservoir(5, **shape)
    for first, task in ((0, 0), (100, 1), (200, 0)):
        buffer.add(make_rows(first, 100, task=task))
    assert len(buffer) == buffer.capacity == 10
    assert len(buffer.rows(0)) == 5


def test_after_a_clear_tasks_are_new(make_rows, shape):
    buffer = TaskReservoir(5, **shape)
    buffer.add(make_rows(0, 50, task=0))
    buffer.clear()
    assert buffer.drawable == 0
    assert buffer.add(make_rows(50, 5, task=1)).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "change", [{"tasks": [0, 0]}, {"tasks": 3}, {"offered": [30]}, {"offered": [30, -1]},
               {"offered": [30, 2]}, {"current": 5}]
)  # fmt: skip
def test_counters_that_contradict_each_other_are_refused(shape, filled, change, assert_equal):
    buffer = filled(TaskReservoir(8, **shape))
    before = buffer.state_dict()
    with pytest.raises(ValueError):
        buffer.load_state_dict(before | change)
    assert_equal(buffer.state_dict(), before)
