import numpy as np
import pytest
from scipy.stats import chi2, chisquare

from buffers import MEMORIES, BalancedReservoir, Column, ReplayBuffer, TaskBuffer


@pytest.fixture(params=MEMORIES)
def shared(request, shape):
    """Makes a memory whose tasks share 24 rows, chosen by each of the kinds there are."""
    extra = shape["extra"] | {"episode": Column((), np.int64)}
    kind = MEMORIES[request.param]

    def make(seed=0):
        options = {"kind": kind, "shared": True, "draw_current": True, "seed": seed}
        return TaskBuffer(24, state=shape["state"], extra=extra, **options)

    return make


def test_every_kind_of_memory_shrinks_and_goes_on(shared, make_rows, assert_whole, assert_equal):
    """Three tasks come one after the other, and then take turns; in batches and one by one."""
    batched, single = shared(), shared()
    tasks = np.concatenate([np.repeat([0, 1, 2], 40), np.arange(120) % 3])
    for first in range(0, 240, 30):
        slots = batched.add(make_rows(first, 30, tasks[first : first + 30]))
        kept = slots >= 0
        assert (batched.read(slots[kept])["action"] == np.arange(first, first + 30)[kept]).all()
    for first in range(240):
        single.add(make_rows(first, 1, tasks[first]))
    assert_equal(batched.state_dict(), single.state_dict())
    stored = batched.read(batched.rows())
    assert_whole(stored)
    assert np.array_equal(stored["task"], tasks[stored["action"]])
    assert np.array_equal(batched.ages(), 239 - stored["action"])
    assert all(0 < len(batched.rows(task)) <= 8 for task in range(3))
    assert len(np.unique(stored["action"])) == len(batched)


def test_a_task_buffer_is_idle_as_long_as_every_tasks_buffer_is(make_rows, shape):
    buffer = TaskBuffer(4, kind=ReplayBuffer, **shape)
    buffer.add(make_rows(0, 7, task=np.array([0, 0, 0, 0, 1, 1, 1])))
    note = "rows offered fit into 4: none was given up"
    assert buffer.idle() == f"task 0: all 4 {note}; task 1: all 3 {note}"
    buffer.add(make_rows(7, 2, task=1))
    assert buffer.idle() is None


def test_a_task_buffer_tells_what_the_buffer_of_each_task_knows(make_rows, shape):
    buffer = TaskBuffer(8, kind=MEMORIES["reward"], **shape)
    buffer.add(make_rows(0, 12, task=np.arange(12) // 9))  # a reward is its row's number + 0.5
    score = {"0": {"min": 1.5, "median": 5, "max": 8.5}, "1": {"min": 9.5, "median": 10.5}}
    score["1"]["max"] = 11.5
    assert buffer.describe()["parts"] == {
        "0": {"rows": 8, "seen": 9, "score": score["0"]},
        "1": {"rows": 3, "seen": 3, "score": score["1"]},
    }


def test_a_task_buffer_gives_the_reasons_of_each_tasks_coreset(make_rows, shape):
    buffer = TaskBuffer(8, kind=MEMORIES["k_center"], **shape)
    buffer.add(make_rows(0, 12, task=np.arange(12) // 9))
    own = [MEMORIES["k_center"](8, **shape) for _ in range(2)]
    own[0].add(make_rows(0, 9)), own[1].add(make_rows(9, 3))
    wanted = [reason for part in own for reason in part.reasons(part.rows())]
    assert buffer.reasons(buffer.rows()) == wanted
    assert {reason.rule for reason in wanted} == {"k_center", "new"}
    assert buffer.reasons(buffer.rows()[::-1]) == wanted[::-1]
    with pytest.raises(ValueError, match="no row is stored"):
        buffer.reasons([1_000])
    with pytest.raises(ValueError, match=r"^a ReplayBuffer gives no reasons; use a coreset\Z"):
        other = TaskBuffer(8, kind=ReplayBuffer, **shape)
        other.add(make_rows(0, 1))
        other.reasons(other.rows())


def test_every_kind_of_memory_goes_on_from_a_saved_state(shared, make_rows, assert_equal):
    original, copy = shared(seed=1), shared(seed=2)
    original.add(make_rows(0, 90, task=np.arange(90) // 30))
    copy.load_state_dict(original.state_dict())
    for first in range(90, 150, 10):
        rows = make_rows(first, 10, task=np.arange(10) % 4)
        assert np.array_equal(original.add(rows), copy.add(rows))
        assert np.array_equal(original.sample(9).index, copy.sample(9).index)
    assert_equal(original.state_dict(), copy.state_dict())


def test_blocks_shrink_to_equal_shares_as_tasks_arrive(make_rows, shape, assert_whole):
    buffer = BalancedReservoir(12, **shape)
    for tasks, rows in ((1, 12), (2, 6), (3, 4), (4, 3), (5, 2)):
        buffer.add(make_rows(100 * tasks, 50, task=tasks))
        assert [len(buffer.rows(task)) for task in range(1, tasks + 1)] == [rows] * tasks
        stored = buffer.read(buffer.rows())
        assert_whole(stored)
        assert np.array_equal(stored["action"] // 100, stored["task"])


def test_what_stays_after_shrinking_is_a_uniform_sample(make_rows, shape):
    counts = np.zeros(40)
    for seed in range(300):
        buffer = BalancedReservoir(12, **shape, seed=seed)
        buffer.add(make_rows(0, 40, task=0))
        buffer.add(make_rows(40, 20, task=1))
        counts[buffer.read(buffer.rows(0))["action"]] += 1
    assert counts.sum() == 300 * 6
    statistic = chisquare(counts).statistic / (1 - 6 / 40) * 39 / 40
    assert chi2.ppf(0.001, 39) < statistic < chi2.ppf(0.999, 39)


def test_a_task_that_shrank_goes_on_being_sampled_uniformly(make_rows, shape):
    counts = np.zeros(40)
    for seed in range(300):
        buffer = BalancedReservoir(12, **shape, seed=seed)
        buffer.add(make_rows(0, 20, task=0))
        buffer.add(make_rows(40, 20, task=1))
        buffer.add(make_rows(20, 20, task=0))
        counts[buffer.read(buffer.rows(0))["action"]] += 1
    statistic = chisquare(counts).statistic / (1 - 6 / 40) * 39 / 40
    assert chi2.ppf(0.001, 39) < statistic < chi2.ppf(0.999, 39)


def test_a_new_task_within_a_batch_shrinks_the_rows_before_it(make_rows, shape):
    buffer = BalancedReservoir(8, **shape)
    slots = buffer.add(make_rows(0, 10, task=np.repeat([0, 1], 5)))
    kept = slots >= 0
    assert kept.sum() == 8
    assert np.array_equal(buffer.read(slots[kept])["action"], np.flatnonzero(kept))


def test_more_tasks_than_rows_are_refused_and_nothing_changes(make_rows, shape, assert_equal):
    buffer = BalancedReservoir(2, **shape)
    buffer.add(make_rows(0, 6, task=np.arange(6) % 2))
    before = buffer.state_dict()
    with pytest.raises(ValueError, match="2 rows are too few for 3 tasks"):
        buffer.add(make_rows(6, 4, task=np.array([0, 1, 2, 2])))
    assert_equal(buffer.state_dict(), before)


def test_any_buffer_can_choose_a_tasks_rows(make_rows, shape):
    buffer = TaskBuffer(4, kind=ReplayBuffer, **shape)
    buffer.add(make_rows(0, 20, task=np.arange(20) % 2))
    assert sorted(buffer.read(buffer.rows(0))["action"]) == [12, 14, 16, 18]
    assert sorted(buffer.read(buffer.rows(1))["action"]) == [13, 15, 17, 19]


def test_ages_count_the_rows_of_all_tasks(make_rows, shape):
    buffer = TaskBuffer(4, kind=ReplayBuffer, **shape)
    for first in range(0, 20, 5):
        buffer.add(make_rows(first, 5, task=np.arange(first, first + 5) % 2))
    stored = buffer.read(buffer.rows())["action"]
    assert np.array_equal(buffer.ages(), 19 - stored)


def test_a_ring_that_shrinks_keeps_the_newest_and_goes_on(make_rows, shape):
    buffer = ReplayBuffer(6, **shape)
    buffer.add(make_rows(0, 9))
    buffer.shrink(4)
    assert buffer.read(buffer.rows())["action"].tolist() == [5, 6, 7, 8]
    buffer.add(make_rows(9, 2))
    assert sorted(buffer.read(buffer.rows())["action"]) == [7, 8, 9, 10]
