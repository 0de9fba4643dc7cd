"""The members' buffers as one."""

from typing import ClassVar

import numpy as np
import pytest

from buffers import (
    BUFFERS,
    MEMORIES,
    RECENT,
    Column,
    HybridBuffer,
    PrioritizedBuffer,
    ReplayBuffer,
)
from experiments.checkpoint import load_checkpoint, save_checkpoint
from experiments.loop import end_task, learn_task, start_task
from experiments.memories import Memories


class Buffer:
    """Notes what it is told."""

    columns: ClassVar = {"action": Column((), np.int64)}

    def __init__(self, needs_feedback=True):
        self.needs_feedback = needs_feedback
        self.added, self.told = [], []

    def __len__(self):
        return len(self.added)

    def add(self, rows):
        self.added += rows["action"].tolist()

    def feedback(self, index, td_error):
        self.told.append((index.tolist(), td_error.tolist()))


@pytest.fixture
def stepped(make_run):
    """Memories of two members with four environments each, after one step of all of them."""
    memories = make_run(seeds=2).memories
    rows = {
        "state": np.eye(4, dtype=np.float32)[np.arange(8) % 4],
        "action": np.arange(8),
        "reward": np.arange(8.0, dtype=np.float32),
        "next_state": np.zeros((8, 4), np.float32),
        "done": np.zeros(8, bool),
        "task": np.array([0, 0, 1, 1] * 2),
    }
    memories.add(rows, np.arange(8))
    return memories


def test_every_member_gets_the_rows_of_its_own_environments():
    memories = Memories([Buffer(), Buffer(), Buffer()], num_envs=2)
    memories.add({"action": np.array([10, 11, 12, 13])}, np.array([0, 0, 1, 5]))
    assert [buffer.added for buffer in memories.buffers] == [[10, 11, 12], [], [13]]
    assert len(memories) == 0  # of the member that has fewest


@pytest.mark.parametrize("most", [0, 2**18])  # bytes that are packed for all members together
@pytest.mark.parametrize("kind", [ReplayBuffer, HybridBuffer])
def test_a_member_holds_what_it_would_hold_alone(kind, most, monkeypatch, same_bits):
    monkeypatch.setattr("buffers.rows.MANY", most)
    rng = np.random.default_rng(0)
    make = [lambda seed=seed: kind(9, state=Column((2,)), seed=seed) for seed in range(3)]
    memories, alone = Memories([each() for each in make], num_envs=4), [each() for each in make]
    for step in range(40):
        env = np.arange(12) if step % 4 else np.sort(rng.choice(12, 7, replace=False))
        rows = {
            "state": rng.normal(size=(len(env), 2)).astype(np.float32),
            "action": rng.integers(5, size=len(env)),
            "reward": np.full(len(env), step, np.float32),
            "next_state": np.zeros((len(env), 2), np.float32),
            "done": env % 2 == 0,
            "task": np.full(len(env), step // 20, np.int32),
        }
        memories.add(rows, env)
        for member, buffer in enumerate(alone):
            if (mine := env // 4 == member).any():
                buffer.add({name: column[mine] for name, column in rows.items()})
    for buffer, other in zip(memories.buffers, alone, strict=True):
        same_bits(buffer.state_dict(), other.state_dict())
        assert len(buffer) > 8


def test_feedback_reaches_the_member_whose_rows_it_is_about():
    memories = Memories([Buffer(), Buffer()], num_envs=2)
    memories.feedback(np.array([[1, 2], [3, 4]]), np.array([[0.1, 0.2], [0.3, 0.4]]))
    assert memories.buffers[0].told == [([1, 2], [0.1, 0.2])]
    assert memories.buffers[1].told == [([3, 4], [0.3, 0.4])]


def test_members_that_need_no_feedback_are_not_told():
    memories = Memories([Buffer(False), Buffer(False)], num_envs=2)
    memories.feedback(np.array([[1, 2], [3, 4]]), np.array([[0.1, 0.2], [0.3, 0.4]]))
    assert not any(buffer.told for buffer in memories.buffers)


def test_a_sample_has_a_row_of_every_column_for_each_member(stepped):
    data, index, weight = stepped.sample(50)
    assert data["state"].shape == (2, 50, 4)
    assert data["q"].shape == (2, 50, 4)
    assert set(data["action"][0]) == {0, 1, 2, 3}
    assert set(data["action"][1]) == {4, 5, 6, 7}
    assert np.array_equal(data["reward"], data["action"])
    assert index.shape == weight.shape == (2, 50)


def test_samples_of_one_size_share_their_arrays(stepped):
    assert stepped.sample(5).data["state"] is stepped.sample(5).data["state"]
    assert stepped.sample(6).data["state"].shape == (2, 6, 4)


def test_rows_spread_over_a_task_are_its_own_and_reach_from_first_to_last(stepped):
    """Of each task a member has two recent rows and, after them, their copies."""
    rows = stepped.spread(1, 4)
    assert rows["action"].tolist() == [[2, 3, 2, 3], [6, 7, 6, 7]]
    assert stepped.spread(0, 2)["action"].tolist() == [[0, 1], [4, 5]]
    assert stepped.spread(0, 9)["state"].shape == (2, 9, 4)


def test_a_label_is_written_on_all_rows_of_the_task_and_on_no_other(stepped):
    """Half of the memory's rows are of each task; an action at minus infinity has no value."""

    def q(member, obs):
        return np.where(obs == 1, -np.inf, 10 * member + obs.argmax(1)[:, None])

    stepped.label(1, q)
    for member, buffer in enumerate(stepped.buffers):
        rows = buffer.read(buffer.rows())
        symbol, own = rows["state"].argmax(1), rows["task"] == 1
        wanted = np.where(rows["state"] == 1, np.nan, 10 * member + symbol[:, None])
        assert own.sum() == 4  # two recent rows and their copies
        assert np.array_equal(rows["q"][own], wanted[own], equal_nan=True)
        assert np.isnan(rows["q"][~own]).all()


@pytest.mark.parametrize(
    ("changes", "kind"), [({"buffer": "fifo", "methods": "none"}, ReplayBuffer), ({}, HybridBuffer)]
)
def test_a_buffer_is_made_of_the_options_that_it_knows(make_run, changes, kind):
    share = {"memory_share": 0.3} if kind is HybridBuffer else {}
    (buffer,) = make_run(**changes, capacity=77, **share).memories.buffers
    assert type(buffer) is kind
    assert getattr(buffer, "recent", buffer).capacity == 77
    assert ("q" in buffer.columns) == (kind is HybridBuffer)
    if kind is HybridBuffer:
        assert (buffer.share, buffer.memory.rows_per_task) == (0.3, 40)


def first_of(run):
    return run.memories.buffers[0]


def test_the_flags_of_priorities_reach_every_part_that_has_some(make_run):
    chosen = {"priority_alpha": 0.3, "priority_beta": 0.7}
    alone = first_of(make_run(buffer="rank", **chosen))
    both = first_of(make_run(recent_kind="prioritized", memory="prioritized_reservoir", **chosen))
    both.add(one_row(both))
    assert type(both.recent) is PrioritizedBuffer
    assert not both.recent.end_task() and not len(both.recent)  # cleared at the switch, as asked
    for buffer in (alone, both.recent, both.memory._parts[0]):
        assert (buffer._alpha, buffer.beta) == (0.3, 0.7)
    default = first_of(make_run(buffer="rank"))
    assert (default._alpha, default.beta) == (0.7, 0.5)


def test_the_number_of_sub_buffers_is_the_one_given(make_run):
    buffer = first_of(make_run(buffer="multi_timescale", num_buffers=3))
    assert len(buffer.describe()["sub_buffers"]) == 3
    buffer = first_of(make_run(memory="multi_timescale", num_buffers=3))
    buffer.add(one_row(buffer))
    assert len(buffer.memory.describe()["parts"]["0"]["sub_buffers"]) == 3


def one_row(buffer):
    return {
        name: np.zeros((1, *c.shape), c.dtype) for name, c in buffer.columns.items() if name != "q"
    }


@pytest.mark.parametrize("buffer", ["hybrid", "k_center"])
def test_a_coreset_compares_rows_by_what_the_network_sees(make_run, buffer, monkeypatch):
    """Once half of the inputs are cut off from the network, rows that differ there are alike."""
    asked = {"hybrid": {"memory": "k_center"}, "k_center": {"capacity": 40}}[buffer]
    run = make_run(
        buffer=buffer, coreset_features="penultimate", normalize_observations=False, **asked
    )
    run.agent.state["theta"][:, : 16 * 4].reshape(16, 4)[:, 2:] = 0
    rows = {k: np.repeat(v, 41, axis=0) for k, v in one_row(first_of(run)).items()}
    rows["state"][:40] = np.random.default_rng(0).normal(size=(40, 4)) * [0, 0, 1, 1]
    rows["state"][37:40] = [[5, 0, 0, 0], [0, 5, 0, 0], [5, 5, 0, 0]]
    first_of(run).add(rows)  # the 41st makes it choose 30
    memory = getattr(first_of(run), "memory", first_of(run))
    stored, reasons = memory.read(memory.rows()), memory.reasons(memory.rows())
    gain = {tuple(s[:2]): reason.gain for s, reason in zip(stored["state"], reasons, strict=True)}
    assert {(5, 0), (0, 5), (5, 5)} <= gain.keys()
    chosen = [r.gain for s, r in zip(stored["state"], reasons, strict=True) if not s[:2].any()]
    assert sum(g is not None and g > 1e-6 for g in chosen) <= 1


def test_coverage_is_given_for_each_task_that_is_held(stepped, make_run):
    assert make_run().view().coverage == {}
    assert stepped.view().coverage == {0: 0.5, 1: 0.5}  # two different rows, each of them twice


def test_a_hybrid_draws_the_memory_of_the_running_task_only_if_asked(make_run):
    for asked in (False, True):
        run = make_run(draw_current=asked, buffer="hybrid")
        rows = {"state": np.zeros((1, 4)), "next_state": np.zeros((1, 4)), "action": [0]}
        run.memories.add(
            {k: np.asarray(v) for k, v in (rows | {"reward": [0.0], "done": [False]}).items()},
            np.zeros(1, int),
        )
        assert (run.memories.buffers[0].memory.drawable > 0) is asked


@pytest.mark.parametrize(
    "changes",
    [{"buffer": name} for name in BUFFERS] + [{"memory": name} for name in MEMORIES],
    ids=lambda changes: "-".join(*changes.items()),
)
def test_every_memory_trains_and_survives_a_checkpoint(make_run, changes, tmp_path, same_bits):
    """Two tasks of eight episodes, in rows of up to three steps, and less room than rows."""
    buffer = changes.get("buffer", "hybrid")
    options = {"capacity": 32, "n_step": 3}
    options |= {"rows_per_task": 16} if buffer == "hybrid" else {}
    options |= {"clear_at_switch": False} if buffer in ("hybrid", *RECENT) else {}
    envs = "retain/Recall:80,retain/RecallShifted:80"
    run = make_run(**changes, **options, envs=envs)
    for _ in range(2):
        start_task(run)
        learn_task(run, lambda run: None)
        end_task(run)
    assert run.clock.updates == 2 * (80 - 40 + 8) // 8
    (buffer,) = run.memories.buffers
    assert 0 < len(buffer) <= buffer.capacity
    file = tmp_path / "state.safetensors"
    save_checkpoint(file, run.state_dict())
    copy = make_run(**changes, **options, envs=envs)
    copy.load_state_dict(load_checkpoint(file))
    same_bits(copy.memories.state_dict(), run.memories.state_dict())
