"""Beside the contract: what a coreset keeps, why, and within other buffers."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from buffers import (
    MEMORIES,
    Column,
    CoresetBuffer,
    FacilityBuffer,
    GradientBuffer,
    HybridBuffer,
    ReservoirBuffer,
    TaskBuffer,
)
from buffers.coreset import Reason
from buffers.selection import SELECTIONS, k_center
from buffers.views import coverage

RULES = [name for name in MEMORIES if name in SELECTIONS]


def line(values, **columns):
    """Rows whose states are these numbers."""
    n = len(values)
    rows = {"action": np.zeros(n, int), "reward": np.zeros(n), "done": np.zeros(n, bool)}
    state = np.array(values, float)[:, None]
    return {"state": state, "next_state": state, **rows, **columns}


def on_a_line(capacity, kind=CoresetBuffer, **options):
    return kind(capacity, state=Column((1,)), features="state", **options)


def states(buffer):
    return sorted(buffer.read(buffer.rows())["state"][:, 0].tolist())


def lopsided(n, seed):
    """99 of 100 rows in one spot, the others anywhere."""
    rng = np.random.default_rng(seed)
    elsewhere = rng.random(n) < 0.01
    rows = {"action": np.zeros(n, int), "reward": np.zeros(n), "done": np.zeros(n, bool)}
    state = rng.normal(size=(n, 2)) * elsewhere[:, None]
    return {"state": state, "next_state": state, **rows}


def test_every_rule_is_a_memory_to_choose():
    assert set(SELECTIONS) == set(RULES)


@pytest.mark.parametrize("rule", ["k_center", "coverage", "facility"])
def test_of_a_lopsided_stream_a_coreset_covers_more_than_a_reservoir(rule):
    covered = []
    reference = np.concatenate([lopsided(100, seed)["state"] for seed in range(40)])
    for kind in (ReservoirBuffer, MEMORIES[rule]):
        buffer = kind(50, state=Column((2,)), seed=1)
        for seed in range(40):
            buffer.add(lopsided(100, seed))
        covered.append(coverage(buffer.read(buffer.rows())["state"], reference))
    assert covered[1] > 5 * covered[0]


def test_near_copies_are_given_up_first():
    buffer = on_a_line(8)
    buffer.add(line([0, 0.001, 0.002, 0.003, 10, 20, 30, 40]))
    buffer.add(line([50]))
    assert [s for s in states(buffer) if s >= 10] == [10, 20, 30, 40, 50]
    assert len(buffer) == 7


def test_nothing_is_given_up_before_a_row_finds_no_room():
    buffer = on_a_line(8)
    buffer.add(line(np.arange(8)))
    assert len(buffer) == 8
    assert buffer.idle() is not None
    buffer.add(line([8]))
    assert len(buffer) == 8 - 2 + 1
    assert buffer.idle() is None


def test_a_rule_that_asks_for_errors_says_that_it_was_told_of_none():
    buffer = on_a_line(8, selection="gss")
    assert buffer.idle() is None
    buffer.add(line(np.arange(9)))
    assert "no TD error was told" in buffer.idle()
    buffer.feedback(buffer.rows()[:1], np.zeros(1))
    assert buffer.idle() is None


@pytest.mark.parametrize(("staging", "rows"), [(0.01, 7), (0.25, 6), (0.5, 4), (0.9, 1)])
def test_the_share_given_up_at_a_choice(staging, rows):
    buffer = on_a_line(8, staging=staging)
    buffer.add(line(np.arange(9)))
    assert buffer.describe()["chosen"] == rows
    assert buffer.describe()["new"] == 1


@pytest.mark.parametrize("batch", [1, 7, 60])
def test_each_third_row_is_a_candidate_however_rows_come(batch):
    buffer, thinned = on_a_line(8, every=3), on_a_line(8)
    values = np.random.default_rng(0).normal(size=60)
    for first in range(0, 60, batch):
        slots = buffer.add(line(values[first : first + batch]))
        assert (slots[np.arange(first, first + len(slots)) % 3 > 0] == -1).all()
        kept = np.flatnonzero(slots >= 0)
        stored = buffer.read(slots[kept])["state"][:, 0]
        assert np.allclose(stored, values[first + kept])
    for value in values[::3]:
        thinned.add(line([value]))
    assert states(buffer) == states(thinned)
    assert buffer.seen == 60
    assert (buffer.ages() % 3 == 2).all()  # row 59 is the newest, 57 the newest candidate
    assert buffer.idle() is None


def test_a_row_keeps_its_slot():
    buffer, where = on_a_line(8), {}
    for value in range(60):
        buffer.add(line([value**2 % 59]))
        held = buffer.rows()
        born = buffer.seen - 1 - buffer.ages()
        now = dict(zip(born.tolist(), held.tolist(), strict=True))
        assert all(where[row] == slot for row, slot in now.items() if row in where)
        where = now


def test_a_row_of_a_batch_that_the_same_batch_drives_out_is_nowhere():
    buffer = on_a_line(4)
    slots = buffer.add(line([0, 10, 20, 20.001, 30]))
    assert (slots == -1).sum() == 1
    kept = slots >= 0
    assert not kept[[2, 3]].all()
    assert np.array_equal(
        buffer.read(slots[kept])["state"][:, 0], np.float32([0, 10, 20, 20.001, 30])[kept]
    )


def test_reasons_by_hand():
    buffer = on_a_line(4)
    buffer.add(line([0, 1, 10, 13]))
    assert buffer.reasons([0]) == [Reason("new", None, 1, None)]
    buffer.add(line([20]))  # of the mean 6, 10 is nearest; then 0, then 13; 1 joins 0
    ordered = buffer.rows()[np.argsort(buffer.read(buffer.rows())["state"][:, 0])]
    reasons = buffer.reasons(ordered)
    assert [r.rule for r in reasons] == ["k_center", "k_center", "k_center", "new"]
    assert [r.weight for r in reasons] == [2, 1, 1, 1]
    assert [r.since for r in reasons] == [4, 4, 4, None]
    assert [r.gain for r in reasons[:3]] == pytest.approx([10, 10, 3], abs=1e-4)
    about = buffer.describe()
    assert about["weight"] == {"min": 1, "median": 1, "max": 2}
    assert about["gain"]["max"] == pytest.approx(10, abs=1e-4)


def test_a_reason_tells_when_a_row_was_first_chosen_and_what_it_is_worth_now():
    buffer = on_a_line(4)
    buffer.add(line([0, 1, 10, 13, 100, 200]))
    last = {r.since: r for r in buffer.reasons(buffer.rows())}
    assert set(last) == {4, 5, None}  # chosen at the 5th row, at the 6th, and not yet


@pytest.mark.parametrize("slot", [-1, 8, 7])
def test_where_no_row_is_there_is_no_reason(slot):
    buffer = on_a_line(8)
    buffer.add(line(np.arange(7)))
    with pytest.raises(ValueError, match="no row is stored"):
        buffer.reasons([slot])


@pytest.mark.parametrize("rule", RULES)
def test_weights_add_up_to_the_rows_offered(rule, make_rows, shape):
    buffer = MEMORIES[rule](16, **shape)
    for first in range(0, 210, 7):
        buffer.add(make_rows(first, 7))
        assert sum(r.weight for r in buffer.reasons(buffer.rows())) == first + 7
    buffer.shrink(5)
    assert len(buffer) == 5
    assert sum(r.weight for r in buffer.reasons(buffer.rows())) == 210


def test_a_samples_weights_are_the_rows_own_with_mean_1():
    buffer = on_a_line(8, FacilityBuffer)
    buffer.add(line([*np.linspace(0, 0.1, 60), 10, 20, 30, 40]))
    held = buffer.rows()
    own = np.array([reason.weight for reason in buffer.reasons(held)])
    sample = buffer.sample(400)
    assert set(sample.index) == set(held)
    drawn = own[np.searchsorted(held, sample.index)]
    assert np.allclose(sample.weight, drawn / own.mean())
    assert own.max() > 10
    plain = on_a_line(8, FacilityBuffer, weighted=False)
    plain.add(line(np.arange(100)))
    assert set(plain.sample(50).weight.tolist()) == {1}


def test_a_weighted_mean_is_that_of_the_stream():
    stream = np.random.default_rng(0).exponential(size=2_000)
    buffer = on_a_line(40, FacilityBuffer)
    buffer.add(line(stream))
    held = buffer.rows()
    weight = [reason.weight for reason in buffer.reasons(held)]
    mean = np.average(buffer.read(held)["state"][:, 0], weights=weight)
    assert mean == pytest.approx(stream.mean(), rel=0.05)


class Naive:
    """A list of [number, weight] of each row, chosen rows first, and no slots."""

    def __init__(self, capacity):
        self.capacity, self.rows = capacity, []

    def add(self, numbers):
        for number in numbers:
            if len(self.rows) == self.capacity:
                self.choose(self.capacity - max(1, self.capacity // 4))
            self.rows.append([number, 1])

    def choose(self, k):
        points = np.array([[number] for number, _ in self.rows], float)
        index = k_center(points, k)
        nearest = np.abs(points - points[index].T).argmin(axis=1)
        for i, chosen in enumerate(nearest):
            if i not in index:
                self.rows[index[chosen]][1] += self.rows[i][1]
        self.rows = [self.rows[i] for i in index]

    def shrink(self, capacity):
        if capacity < len(self.rows):
            self.choose(capacity)
        self.capacity = capacity


operations = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 30)),
        st.tuples(st.just("shrink"), st.integers(2, 12)),
        st.tuples(st.just("clear"), st.none()),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(operations, st.integers(0, 9))
def test_it_holds_what_a_plain_list_would(operations, seed):
    buffer, naive, rng = on_a_line(12), Naive(12), np.random.default_rng(seed)
    for name, size in operations:
        if name == "add":
            numbers = rng.normal(size=size).astype(np.float32)
            buffer.add(line(numbers)), naive.add(numbers)
        elif name == "shrink" and size <= naive.capacity:
            buffer.shrink(size), naive.shrink(size)
        elif name == "clear":
            buffer.clear(), naive.rows.clear()
        held = buffer.rows()
        numbers = buffer.read(held)["state"][:, 0]
        weight = [reason.weight for reason in buffer.reasons(held)]
        pairs = sorted(zip(numbers.tolist(), weight, strict=True))
        assert pairs == sorted((float(number), w) for number, w in naive.rows)


def test_all_rows_held_are_drawn_alike():
    buffer = on_a_line(8)
    buffer.add(line(np.arange(15)))
    count = np.bincount(buffer.sample(8_000).index, minlength=8)[buffer.rows()]
    expected = 8_000 / len(buffer)
    assert np.abs(count - expected).max() < 4.5 * np.sqrt(expected)


def test_shrinking_keeps_what_the_rule_prefers():
    buffer = on_a_line(8)
    buffer.add(line([0, 1, 2, 3, 4, 50, 100, 51]))
    buffer.shrink(3)
    assert buffer.capacity == len(buffer) == 3
    kept = states(buffer)
    assert kept[0] in (0, 1, 2, 3, 4)
    assert kept[1] in (50, 51)
    assert kept[2] == 100
    buffer.add(line([200, 300]))
    assert len(buffer) == 3
    assert buffer.rows().tolist() == [0, 1, 2]
    assert 300 in states(buffer)


def test_shrinking_to_what_fits_gives_up_nothing_and_chooses_nothing():
    buffer = on_a_line(8)
    buffer.add(line([5, 7]))
    buffer.shrink(4)
    assert states(buffer) == [5, 7]
    assert buffer.describe()["new"] == 2
    buffer.add(line([9, 11]))
    assert states(buffer) == [5, 7, 9, 11]


def test_a_single_slot_has_the_newest_row():
    buffer = on_a_line(1, FacilityBuffer)
    buffer.add(line(np.arange(5)))
    assert states(buffer) == [4]
    assert buffer.sample(3).weight.tolist() == [1, 1, 1]


def test_clearing_forgets_the_stream(make_rows, shape, assert_equal):
    used, fresh = CoresetBuffer(16, **shape), CoresetBuffer(16, **shape)
    used.add(make_rows(500, 50))
    used.clear()
    for first in range(0, 40, 5):
        used.add(make_rows(first, 5)), fresh.add(make_rows(first, 5))
    states = used.state_dict(), fresh.state_dict()
    assert states[0].pop("seen") == 90
    assert states[1].pop("seen") == 40
    assert np.array_equal(states[0].pop("born") - 50, states[1].pop("born"))
    assert_equal(*states)


def test_a_state_taken_over_leaves_nothing_of_the_rows_before(make_rows, shape, assert_equal):
    few, used, fresh = (CoresetBuffer(16, **shape) for _ in range(3))
    few.add(make_rows(0, 3))
    used.add(make_rows(500, 50))
    for buffer in (used, fresh):
        buffer.load_state_dict(few.state_dict())
        buffer.add(make_rows(3, 10))
    assert_equal(used.state_dict(), fresh.state_dict())


def test_errors_decide_what_gradients_keep(make_rows, shape):
    """Of rows with one and the same features, the one with an opposite error is kept."""
    kept = []
    for seed in range(20):
        buffer = on_a_line(4, GradientBuffer, seed=seed)
        slots = buffer.add(line([1, 1, 1, 1], reward=np.arange(4)))
        buffer.feedback(slots, np.array([0.5, 2, 1, -1]))
        buffer.add(line([1]))
        kept.append(3 in buffer.read(buffer.rows())["reward"])
    assert all(kept)


@pytest.mark.parametrize("error", [[1, np.nan], [1, 2, 3]])
def test_an_error_that_is_no_number_or_of_no_row_is_refused(error, assert_equal):
    buffer = on_a_line(4, GradientBuffer)
    slots = buffer.add(line([1, 2]))
    before = buffer.state_dict()
    with pytest.raises(ValueError, match=r"^feedback: expected .* TD errors, given .*\Z"):
        buffer.feedback(slots, np.array(error))
    buffer.feedback(np.array([3, -1, 9]), np.ones(3) * 7)  # nothing is there
    assert_equal(buffer.state_dict(), before)


def test_features_may_be_a_function_of_all_columns():
    asked = []

    def reward(rows):
        asked.append(set(rows))
        return rows["reward"][:, None]

    buffer = CoresetBuffer(4, state=Column((1,)), features=reward)
    buffer.add(line([0, 1, 2, 3, 4], reward=np.array([5, 5, 5, 9, 0])))
    assert asked == [set(buffer.columns)]
    assert sorted(buffer.read(buffer.rows())["reward"]) == [0, 5, 5, 9]


def test_rows_can_be_compared_by_what_a_network_makes_of_them():
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    with torch.no_grad():
        network[0].weight[:] = torch.tensor([[1.0, 0.0]])  # all that it sees is the first number

    def hidden(rows):
        return network[:2](torch.from_numpy(rows["state"])).detach()

    buffer = CoresetBuffer(8, state=Column((2,)), features=hidden)
    state = np.array([[0, 9], [0, -9], [0, 7], [0, -7], [1, 0], [2, 0], [3, 0], [4, 0]])
    buffer.add(line(np.zeros(8)) | {"state": state, "next_state": state})
    buffer.add(line([0]) | {"state": [[5, 0]], "next_state": [[5, 0]]})
    assert {1, 2, 3, 4, 5} <= set(buffer.read(buffer.rows())["state"][:, 0])


def test_features_that_are_not_finite_are_refused_and_nothing_changes(assert_equal):
    column = {"h": Column((1,), fill=np.nan)}
    buffer = CoresetBuffer(4, state=Column((1,)), extra=column, features="h")
    buffer.add(line([0, 1], h=np.zeros((2, 1))))
    before = buffer.state_dict()
    with pytest.raises(ValueError, match="column 'h'"):
        buffer.add(line([0, 1]))
    assert_equal(buffer.state_dict(), before)


def test_images_can_be_chosen():
    images = np.random.default_rng(0).integers(256, size=(40, 1, 4, 4), dtype=np.uint8)
    buffer = CoresetBuffer(8, state=Column((1, 4, 4), np.uint8))
    buffer.add(line(np.zeros(40)) | {"state": images, "next_state": images})
    assert buffer.read(buffer.rows())["state"].dtype == np.uint8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"selection": "best"}, "unknown selection 'best'; known are k_center"),
        ({"staging": 0}, "staging 0"),
        ({"staging": 1}, "staging 1"),
        ({"every": 0}, "every 0"),
        ({"features": "colour"}, "no column 'colour'"),
    ],
)
def test_unusable_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CoresetBuffer(4, state=Column((1,)), **options)


@pytest.mark.parametrize(
    "spoil",
    [
        {"selection": "herding"},
        {"staging": 0.5},
        {"every": 2},
        {"weighted": True},
        {"chosen": 5},
        {"chosen": -1},
        {"order": np.array([0, 1, 2, 2])},
        {"order": np.array([0, 1, 2, 4])},
        {"order": np.array([0, 1, 2, -1])},
        {"order": [0, 1, 2, 3]},
        {"weight": np.ones(3)},
        {"observed": -1},
        {"mean": np.zeros(2)},
    ],
)
def test_a_state_that_is_not_sound_is_refused(spoil, assert_equal):
    buffer, other = on_a_line(4), on_a_line(4)
    buffer.add(line(np.arange(8)))
    other.add(line(np.arange(8)))
    assert len(other) == 4
    before = buffer.state_dict()
    with pytest.raises(ValueError, match="state"):
        buffer.load_state_dict(other.state_dict() | spoil)
    assert_equal(buffer.state_dict(), before)


def hybrid(kind, **common):
    return HybridBuffer(16, rows_per_task=8, kind=kind, draw_current=True, **common)


@pytest.fixture(params=RULES)
def kind(request):
    return MEMORIES[request.param]


@pytest.fixture(params=[hybrid, partial(TaskBuffer, 24, shared=True)], ids=["hybrid", "shared"])
def within(request, kind, shape):
    """A buffer whose tasks' rows are chosen by a rule."""
    return lambda seed: request.param(kind=kind, seed=seed, **shape)


def test_a_tasks_rows_may_be_chosen_by_a_rule(within, make_rows, assert_whole, assert_equal):
    batched, single = within(1), within(1)
    tasks = np.sort(np.random.default_rng(0).integers(3, size=150))
    for first in range(0, 150, 25):
        slots = batched.add(make_rows(first, 25, tasks[first : first + 25]))
        kept = slots >= 0
        assert np.array_equal(
            batched.read(slots[kept])["action"], np.arange(first, first + 25)[kept]
        )
    for first in range(150):
        single.add(make_rows(first, 1, tasks[first]))
    assert_equal(batched.state_dict(), single.state_dict())
    stored = batched.read(batched.rows())
    assert_whole(stored)
    assert np.array_equal(stored["task"], tasks[stored["action"]])
    assert set(stored["task"]) == {0, 1, 2}
    assert np.array_equal(batched.ages(), 149 - stored["action"])


def test_the_state_within_other_buffers_is_exact(within, make_rows, assert_equal):
    original, copy = within(1), within(2)
    for first in range(0, 60, 5):
        original.add(make_rows(first, 5, task=first // 30))
    original.end_task()
    original.feedback(original.rows(), np.linspace(-1, 1, len(original)))
    copy.load_state_dict(original.state_dict())
    for first in range(60, 120, 5):
        rows = make_rows(first, 5, task=first // 45)
        assert np.array_equal(original.add(rows), copy.add(rows))
        assert np.array_equal(original.sample(9).index, copy.sample(9).index)
    assert_equal(original.state_dict(), copy.state_dict())
