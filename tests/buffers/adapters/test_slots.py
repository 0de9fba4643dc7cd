"""Rows of a memory in the slots of somebody else's storage: what is drawn is what was offered."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buffers import (
    BalancedReservoir,
    EpisodeReservoir,
    HybridBuffer,
    MixtureBuffer,
    ReplayBuffer,
    ReservoirBuffer,
    TaskBuffer,
)
from buffers.adapters.slots import NOTHING, SLOT, SlotMap

COMMON = {"state": NOTHING, "action": NOTHING, "extra": SLOT}
EPISODES = COMMON | {"extra": SLOT | EpisodeReservoir.needs}
MEMORIES = {
    "fifo": lambda: ReplayBuffer(8, **COMMON),
    "reservoir": lambda: ReservoirBuffer(8, **COMMON),
    "balanced": lambda: BalancedReservoir(8, **COMMON),
    "hybrid": lambda: HybridBuffer(5, rows_per_task=3, **COMMON),
    "episodes": lambda: EpisodeReservoir(8, **EPISODES),
    "hybrid of episodes": lambda: HybridBuffer(
        5, rows_per_task=4, kind=EpisodeReservoir, **EPISODES
    ),
}


def offer(slots, batch, storage=None):
    """Add to the memory, and write its rewards into the storage if there is one."""

    def write(where, which):
        if storage is not None:
            storage[where] = batch["reward"][which]

    return slots.add(batch, write)


class Remembering(ReplayBuffer):
    def feedback(self, index, td_error):
        self.told = dict(zip(index.tolist(), td_error.tolist(), strict=True))


def rows(first, n, task=0):
    nothing, number = np.zeros((n, 0), np.float32), np.arange(first, first + n)
    return {
        "state": nothing,
        "action": nothing,
        "reward": number,
        "next_state": nothing,
        "done": number % 3 == 2,
        "task": np.full(n, task),
    }


@pytest.mark.parametrize("make", MEMORIES.values(), ids=MEMORIES.keys())
@settings(max_examples=30, deadline=None)
@given(batches=st.lists(st.integers(1, 30), min_size=1, max_size=15), spare=st.integers(1, 9))
def test_the_storage_holds_every_row_that_the_memory_holds(make, batches, spare):
    memory = make()
    storage = np.full(20 + spare, -1.0)
    slots, first = SlotMap(memory, len(storage)), 0
    for number, n in enumerate(batches):
        given_rows = rows(first, n, task=number // 5)
        where = offer(slots, given_rows, storage)
        kept = where >= 0
        assert len(set(where[kept])) == kept.sum(), "one slot was given twice"
        held = memory.read(memory.rows())
        assert np.array_equal(storage[held["slot"]], held["reward"])
        first += n
    if not memory.drawable:
        return
    drawn, _ = slots.sample(50)
    assert set(storage[drawn]) <= set(memory.read(memory.rows())["reward"])


def episodes_and_recent():
    parts = {"recent": ReplayBuffer(2, **EPISODES), "whole": EpisodeReservoir(12, **EPISODES)}
    return MixtureBuffer(parts, {"recent": 1, "whole": 1})


@pytest.mark.parametrize(
    "make",
    [
        lambda: EpisodeReservoir(12, **EPISODES),
        lambda: TaskBuffer(12, kind=EpisodeReservoir, **EPISODES),
        lambda: HybridBuffer(2, rows_per_task=12, kind=EpisodeReservoir, **EPISODES),
        episodes_and_recent,
    ],
    ids=["alone", "of a task", "hybrid", "mixture"],
)
def test_slots_of_rows_that_wait_are_not_given_away(make):
    """Three environments, whose episodes of unlike lengths are kept only when they end."""
    slots, rng = SlotMap(make(), 60), np.random.default_rng(0)
    storage = np.full(60, -1.0)
    for first in range(0, 900, 3):
        ended = {"episode": np.arange(3), "last": rng.random(3) < 0.15}
        offer(slots, rows(first, 3) | ended, storage)
        held = slots.memory.read(slots.memory.rows())
        assert np.array_equal(storage[held["slot"]], held["reward"])


def test_a_memory_decides_the_same_whether_its_rows_come_at_once_or_one_by_one():
    at_once, one_by_one = (SlotMap(ReservoirBuffer(8, **COMMON), 10) for _ in range(2))
    where = offer(at_once, rows(0, 60))
    for i in range(60):
        offer(one_by_one, rows(i, 1))
    held = [s.memory.read(s.memory.rows())["reward"] for s in (at_once, one_by_one)]
    assert np.array_equal(*held)
    assert len(where) == 60


def test_a_batch_larger_than_the_storage_keeps_the_last_row_of_each_slot():
    slots = SlotMap(ReplayBuffer(4, **COMMON), 6)
    where = offer(slots, rows(0, 15))
    held = slots.memory.read(slots.memory.rows())
    by_slot = dict(zip(held["slot"].tolist(), held["reward"].tolist(), strict=True))
    assert sorted(by_slot.values()) == [11, 12, 13, 14]
    assert all(by_slot[where[i]] == i for i in (11, 12, 13, 14))


def test_a_dropped_row_uses_up_no_slot():
    slots = SlotMap(ReservoirBuffer(4, **COMMON), 1000)
    where = np.concatenate([offer(slots, rows(first, 10)) for first in range(0, 300, 10)])
    kept = where[where >= 0]
    assert len(kept) < 100
    assert set(kept) <= set(range(kept.max() + 1))
    assert kept.max() < len(kept) + 10


def test_errors_go_to_the_row_that_is_in_the_slot_and_not_to_one_that_is_gone():
    slots = SlotMap(Remembering(3, **COMMON), 8)
    first = offer(slots, rows(0, 3))
    offer(slots, rows(3, 1))  # takes the place of row 0
    slots.feedback(np.append(first, -1), np.array([0.5, 1.5, 2.5, 9.0]))
    assert slots.memory.told == {1: 1.5, 2: 2.5}


def test_errors_of_rows_that_shrinking_took_away_are_left_out():
    slots = SlotMap(Remembering(6, **COMMON), 8)
    where = offer(slots, rows(0, 6))
    slots.memory.shrink(2)  # rows 4 and 5 stay, at 0 and 1
    slots.feedback(where, np.arange(6.0))
    assert slots.memory.told == {}
    slots.sample(20)
    slots.feedback(where, np.arange(6.0))
    assert slots.memory.told == {0: 4.0, 1: 5.0}


def test_a_saved_state_goes_on_as_the_original():
    original, copy = (SlotMap(HybridBuffer(5, rows_per_task=3, **COMMON), 12) for _ in range(2))
    offer(original, rows(0, 40))
    copy.load_state_dict(original.state_dict())
    for first in range(40, 90, 5):
        batch = rows(first, 5, task=first // 70)
        assert np.array_equal(offer(original, batch), offer(copy, batch))
        assert np.array_equal(original.sample(7)[0], copy.sample(7)[0])


def test_a_memory_or_state_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="extra=SLOT"):
        SlotMap(ReplayBuffer(4, state=NOTHING), 9)
    with pytest.raises(ValueError, match="4 slots: expected more than the 4 rows"):
        SlotMap(ReplayBuffer(4, **COMMON), 4)
    slots, other = SlotMap(ReplayBuffer(4, **COMMON), 6), SlotMap(ReplayBuffer(4, **COMMON), 7)
    offer(other, rows(0, 3))
    with pytest.raises(ValueError, match="'row'"):
        slots.load_state_dict(other.state_dict())
    assert len(slots.memory) == 0
    hybrid = SlotMap(HybridBuffer(2, rows_per_task=2, **COMMON), 5)
    offer(hybrid, rows(0, 3, task=0))
    with pytest.raises(ValueError, match="5 slots: all are in use"):
        for task in range(1, 9):
            offer(hybrid, rows(0, 3, task=task))
