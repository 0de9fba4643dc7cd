"""Our memories inside TorchRL's own replay buffers."""

import copy

import numpy as np
import pytest

from buffers import BalancedReservoir, Column, HybridBuffer, ReplayBuffer, ReservoirBuffer

pytest.importorskip("torchrl", reason="it is missing: pip install 'retain-rl[torchrl]'")
import torch
from tensordict import TensorDict
from torchrl.collectors import Collector
from torchrl.data import LazyMemmapStorage, LazyTensorStorage, ListStorage, TensorDictReplayBuffer
from torchrl.data import ReplayBuffer as TorchRLReplayBuffer
from torchrl.envs import GymEnv

from buffers.adapters.torchrl import NOTHING, SLOT, MemorySampler, MemoryWriter

COMMON = {"state": NOTHING, "action": NOTHING, "extra": SLOT}


class Remembering(ReplayBuffer):
    """Weighs rows by where they are and keeps the errors it is told of."""

    told = None

    def _weigh(self, slots):
        return (1 + slots).astype(np.float32)

    def feedback(self, index, td_error):
        self.told = dict(zip(index.tolist(), td_error.tolist(), strict=True))


def steps(first, n, task=0):
    """Rows whose every entry tells which row it is, as TorchRL's environments give them."""
    i = torch.arange(first, first + n, dtype=torch.float32)[:, None]
    flags = {"terminated": i % 3 == 0, "truncated": i % 5 == 0}
    flags["done"] = flags["terminated"] | flags["truncated"]
    following = {"observation": torch.cat([i + 1, -i], 1), "reward": i / 2, **flags}
    root = {
        "observation": torch.cat([i, -i], 1),
        "action": i.long(),
        "task": torch.full((n,), task),
    }
    return TensorDict({**root, "next": TensorDict(following, [n])}, [n])


def replay_buffer(memory, slots=64, kind=TensorDictReplayBuffer, storage=None):
    writer = MemoryWriter(memory)
    sampler = MemorySampler(writer)
    storage = LazyTensorStorage(slots) if storage is None else storage
    return kind(storage=storage, writer=writer, sampler=sampler, batch_size=32)


def numbers(data):
    """Which rows these are; every entry has to say the same."""
    i = data["action"].flatten()
    expected = steps(0, int(i.max()) + 1)[i]
    for key in ("observation", ("next", "observation"), ("next", "reward"), ("next", "done")):
        assert torch.equal(data[key], expected[key]), key
    return i.tolist()


@pytest.mark.parametrize("kind", [TensorDictReplayBuffer, TorchRLReplayBuffer])
@pytest.mark.parametrize(
    "make",
    [
        lambda: ReservoirBuffer(20, **COMMON),
        lambda: BalancedReservoir(20, **COMMON),
        lambda: HybridBuffer(6, rows_per_task=7, **COMMON),
    ],
    ids=["reservoir", "balanced", "hybrid"],
)
def test_a_sample_is_of_the_rows_that_the_memory_keeps(make, kind):
    memory = make()
    rb = replay_buffer(memory, kind=kind)
    for first in range(0, 200, 25):
        where = rb.extend(steps(first, 25, task=first // 100))
        kept = where >= 0
        assert torch.equal(
            rb[where[kept]]["action"].flatten(), torch.arange(first, first + 25)[kept]
        )
    held = memory.read(memory.rows())
    kept = set(numbers(rb[torch.from_numpy(held["slot"])]))
    assert kept == set((2 * held["reward"]).astype(int))
    assert len(kept) <= 20 < 64
    for _ in range(5):
        assert set(numbers(rb.sample())) <= kept
    assert (where < 0).any()


def test_the_memory_is_given_termination_truncation_and_task_under_torchrls_names():
    memory = ReplayBuffer(40, state=Column((2,)), extra=SLOT)
    rb = replay_buffer(memory)
    data = steps(0, 30, task=4)
    rb.extend(data)
    rows = memory.read(memory.rows())
    assert np.array_equal(rows["state"], data["observation"])
    assert np.array_equal(rows["next_state"], data["next", "observation"])
    assert np.array_equal(rows["action"], np.arange(30))
    assert np.array_equal(rows["done"], np.arange(30) % 3 == 0)
    assert np.array_equal(rows["truncated"], np.arange(30) % 5 == 0)
    assert set(rows["task"]) == {4}


def test_a_sample_of_one_buffer_can_be_added_to_another():
    """Where its rows were stored in the first would pass for where they are in the second."""
    source = replay_buffer(ReplayBuffer(40, **COMMON))
    source.extend(steps(0, 30))
    data = source.sample()
    rb = replay_buffer(ReplayBuffer(40, **COMMON), kind=TorchRLReplayBuffer)
    rb.extend(data)
    assert "index" in data
    assert "index" not in rb.sample()
    assert set(numbers(rb.sample())) <= set(numbers(data))


def test_torchrls_own_collector_fills_a_memory_over_a_storage_on_disk():
    memory = ReservoirBuffer(150, state=Column((4,)), action=Column((2,), np.int64), extra=SLOT)
    rb = replay_buffer(memory, storage=LazyMemmapStorage(165))
    for data in Collector(GymEnv("CartPole-v1"), None, frames_per_batch=40, total_frames=160):
        rb.extend(data)
    assert (memory.seen, len(memory)) == (160, 150)
    rows = memory.read(memory.rows())
    stored = rb[torch.from_numpy(rows["slot"])]
    assert np.array_equal(stored["observation"], rows["state"])
    assert np.array_equal(stored["action"], rows["action"])
    assert np.array_equal(stored["next", "observation"], rows["next_state"])
    assert np.array_equal(stored["next", "terminated"].flatten(), rows["done"])
    assert rows["done"].any()


def test_rows_come_one_by_one_as_well():
    memory = ReservoirBuffer(5, **COMMON)
    rb = replay_buffer(memory, slots=6)
    where = [rb.add(steps(i, 1)[0]) for i in range(40)]
    assert where[:5] == [0, 1, 2, 3, 4]
    assert None in where
    assert rb.write_count == sum(slot is not None for slot in where)
    numbers(rb.sample())


def test_weights_and_errors_travel_between_the_learner_and_the_memory():
    memory = Remembering(20, **COMMON)
    rb = replay_buffer(memory)
    rb.extend(steps(0, 35))
    drawn = copy.deepcopy(memory).sample(32)
    data = rb.sample()
    assert data["index"].tolist() == drawn.data["slot"].tolist()
    assert data["priority_weight"].tolist() == drawn.weight.tolist()
    assert len(set(drawn.weight)) > 5
    rb.update_priority(data["index"], data["action"] / 4)
    error = (data["action"].flatten() / 4).tolist()
    assert memory.told == dict(zip(drawn.index.tolist(), error, strict=True))


def test_errors_given_with_new_rows_reach_those_that_were_kept():
    memory = Remembering(4, **COMMON)
    data = steps(0, 6)
    data["td_error"] = torch.arange(6.0)
    replay_buffer(memory).extend(data)
    assert sorted(memory.told.values()) == [2, 3, 4, 5]


def test_dqn_learns_the_values_of_a_chain_from_a_small_memory():
    """Five states in a row, reward 1 for leaving the last: values are powers of the discount."""
    torch.manual_seed(0)
    states, discount = 5, 0.5
    rb = replay_buffer(ReservoirBuffer(60, **COMMON), slots=66)
    here = torch.randint(states, (400,))
    one_hot = torch.eye(states + 1)
    last = (here == states - 1)[:, None]
    flags = {"terminated": last, "truncated": torch.zeros_like(last), "done": last}
    following = {"observation": one_hot[here + 1], "reward": last.float(), **flags}
    rb.extend(
        TensorDict({"observation": one_hot[here], "action": here * 0, "next": following}, [400])
    )
    seen = torch.cat([rb.sample()["observation"] for _ in range(9)])[:, :states].any(0)
    q = torch.nn.Linear(states + 1, 1, bias=False)
    optimizer = torch.optim.SGD(q.parameters(), lr=1.0)
    for _ in range(300):
        data = rb.sample()
        with torch.no_grad():
            bootstrap = q(data["next", "observation"]) * ~data["next", "terminated"]
        td_error = data["next", "reward"] + discount * bootstrap - q(data["observation"])
        optimizer.zero_grad()
        (data["priority_weight"][:, None] * td_error.square()).mean().backward()
        optimizer.step()
    assert seen.all(), "the chain needs each of its states in the memory"
    learned = q(one_hot[:states]).flatten().tolist()
    assert learned == pytest.approx([discount**k for k in (4, 3, 2, 1, 0)], abs=1e-3)


@pytest.mark.parametrize("how", ["state_dict", "dumps"])
def test_a_saved_buffer_goes_on_as_the_original(how, tmp_path):
    original, copy = (
        replay_buffer(HybridBuffer(10, rows_per_task=10, **COMMON), slots=40) for _ in range(2)
    )
    original.extend(steps(0, 90))
    copy.extend(steps(500, 3))
    if how == "dumps":
        original.dumps(tmp_path / "rb")
        copy.loads(tmp_path / "rb")
    else:
        copy.load_state_dict(original.state_dict())
    assert copy.write_count == original.write_count > 0
    for first in range(90, 150, 10):
        rows = steps(first, 10, task=1)
        assert torch.equal(original.extend(rows), copy.extend(rows.clone()))
        assert numbers(original.sample()) == numbers(copy.sample())


def test_an_emptied_buffer_holds_nothing_and_can_be_filled_again():
    memory = ReservoirBuffer(5, **COMMON)
    rb = replay_buffer(memory)
    rb.extend(steps(0, 30))
    rb.empty()
    assert (len(rb), len(memory), rb.write_count, rb.can_sample()) == (0, 0, 0, False)
    rb.extend(steps(50, 3))
    assert set(numbers(rb.sample())) == {50, 51, 52}


def test_what_does_not_fit_is_refused_and_nothing_changes():
    with pytest.raises(ValueError, match="20 slots: expected more than the 20 rows"):
        replay_buffer(ReservoirBuffer(20, **COMMON), slots=20)
    writer = MemoryWriter(ReservoirBuffer(20, **COMMON))
    with pytest.raises(ValueError, match="given ListStorage"):
        TorchRLReplayBuffer(storage=ListStorage(64), writer=writer)
    with pytest.raises(ValueError, match="no storage"):
        MemoryWriter(ReservoirBuffer(20, **COMMON)).extend(steps(0, 1))
    memory = ReservoirBuffer(20, **COMMON)
    rb = replay_buffer(memory)
    rb.extend(steps(0, 4))
    bad, none = steps(4, 4), steps(4, 4)
    bad["next", "reward"][1] = float("nan")
    del none["next", "terminated"]
    with pytest.raises(ValueError, match="'reward'"):
        rb.extend(bad)
    with pytest.raises(ValueError, match=r"'done' is missing: no key \('next', 'terminated'\)"):
        rb.extend(none)
    assert (memory.seen, rb.write_count) == (4, 4)


def test_a_memory_may_look_at_several_observations_of_a_row():
    state = {"speed": Column((2,)), "image": Column((4,), np.uint8)}
    memory = ReservoirBuffer(20, state=state, action=NOTHING, extra=SLOT)
    places = {"speed": "observation", "image": "pixels"}
    keys = {f"state.{k}": v for k, v in places.items()}
    keys |= {f"next_state.{k}": ("next", v) for k, v in places.items()}
    writer = MemoryWriter(memory, keys)
    rb = TensorDictReplayBuffer(
        storage=LazyTensorStorage(30), writer=writer, sampler=MemorySampler(writer), batch_size=32
    )
    data = steps(0, 60)
    for part in (data, data["next"]):
        part["pixels"] = part["observation"][:, :1].to(torch.uint8).expand(-1, 4)
    rb.extend(data)
    rows, sample = memory.read(memory.rows()), rb.sample()
    assert np.array_equal(rows["state"]["image"][:, 0], rows["state"]["speed"][:, 0])
    kept = set(rows["state"]["speed"][:, 0].tolist())
    assert set(numbers(sample)) <= kept and len(kept) == 20
    assert torch.equal(sample["pixels"][:, 0], sample["action"].flatten().to(torch.uint8))
