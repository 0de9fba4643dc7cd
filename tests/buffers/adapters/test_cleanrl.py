"""Our memories where a CleanRL-style script has Stable-Baselines3's buffer."""

import copy

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, Text

from buffers import Column, EpisodeReservoir, HybridBuffer
from buffers import ReplayBuffer as Memory
from buffers.adapters.cleanrl import ReplayBuffer, columns

SPACES = {
    "discrete": (Box(-1, 1, (4,)), Discrete(3)),
    "continuous": (Box(0, 255, (2, 3), np.uint8), Box(-1, 1, (2,))),
}


def step(observation_space, action_space, n=2, seed=0):
    """What a script adds after a step of `n` environments."""
    for space in (observation_space, action_space):
        space.seed(seed)
    states = [np.stack([observation_space.sample() for _ in range(n)]) for _ in range(2)]
    actions = np.stack([action_space.sample() for _ in range(n)])
    return *states, actions, np.arange(n, dtype=np.float64), np.arange(n) % 2 == 0


@pytest.mark.parametrize("spaces", SPACES.values(), ids=SPACES.keys())
def test_a_sample_looks_like_one_of_stable_baselines3s_buffer(spaces):
    buffers = pytest.importorskip("stable_baselines3.common.buffers")
    theirs = buffers.ReplayBuffer(100, *spaces, "cpu", n_envs=2, handle_timeout_termination=False)
    ours = ReplayBuffer(Memory(100, **columns(*spaces)), "cpu")
    rows = step(*spaces)
    for buffer in (theirs, ours):
        buffer.add(*rows, [{}, {}])
    a, b = ours.sample(40), theirs.sample(40)
    for name in ("observations", "actions", "next_observations", "dones", "rewards"):
        mine, other = getattr(a, name), getattr(b, name)
        assert (mine.shape, mine.dtype) == (other.shape, other.dtype), name
        assert {tuple(v.flatten().tolist()) for v in mine} == {
            tuple(v.flatten().tolist()) for v in other
        }, name
    assert ours.size() == len(ours) == 2


@pytest.mark.parametrize(
    "infos",
    [
        [{"TimeLimit.truncated": True, "task": 5}, {"task": 6}],
        {"TimeLimit.truncated": np.array([True, False]), "task": np.array([5, 6])},
    ],
)
def test_a_truncated_row_is_not_done_and_tasks_are_taken_from_infos(infos):
    rb = ReplayBuffer(Memory(9, **columns(*SPACES["discrete"])))
    *rows, _ = step(*SPACES["discrete"])
    rb.add(*rows, [True, True], infos)
    data = rb.sample(30)
    assert set(zip(data.tasks.tolist(), data.dones.flatten().tolist(), strict=True)) == {
        (5, 0),
        (6, 1),
    }
    assert rb.memory.read([0, 1])["truncated"].tolist() == [True, False]


def test_what_was_added_does_not_change_with_the_scripts_arrays():
    rb = ReplayBuffer(Memory(9, **columns(*SPACES["discrete"])))
    rows = step(*SPACES["discrete"])
    before = rows[0].copy()
    rb.add(*rows)
    rows[0][:] = 0
    assert np.array_equal(rb.memory.read([0, 1])["state"], before)


def test_errors_of_the_learner_reach_the_memory_and_its_weights_the_learner():
    class Weighing(Memory):
        def _weigh(self, slots):
            return (1 + slots).astype(np.float32)

        def feedback(self, index, td_error):
            self.told = index, td_error

    rb = ReplayBuffer(Weighing(9, **columns(*SPACES["discrete"])))
    rb.add(*step(*SPACES["discrete"]))
    index, weight = copy.deepcopy(rb.memory).sample(12)[1:]
    data = rb.sample(12)
    assert data.indices.tolist() == index.tolist()
    assert data.weights.flatten().tolist() == weight.tolist()
    assert len(set(weight)) == 2
    rb.feedback(data.indices, torch.arange(12.0, requires_grad=True)[:, None])
    assert rb.memory.told[0].tolist() == data.indices.tolist()
    assert rb.memory.told[1].tolist() == list(range(12))


@pytest.mark.parametrize("frames", [0, 2])
def test_observations_that_are_dicts_come_back_as_such_and_frames_are_stored_once(frames):
    image = Box(0, 255, (2, 3, 3), np.uint8)
    spaces = Dict(image=image, speed=Box(-1, 1, (2,), np.float32)), Discrete(3)
    made = columns(*spaces)
    assert made["state"] == {
        "image": Column((2, 3, 3), np.dtype(np.uint8)),
        "speed": Column((2,), np.dtype(np.float32)),
    }
    made["state"]["image"] = columns(image, spaces[1], frames=frames)["state"]
    rb = ReplayBuffer(Memory(9, **made))
    obs = {"image": np.arange(36, dtype=np.uint8).reshape(2, 2, 3, 3), "speed": np.eye(2)}
    after = {"image": obs["image"][:, ::-1], "speed": -np.eye(2)}
    rb.add(obs, after, np.arange(2), np.arange(2.0), np.zeros(2, bool))
    data = rb.sample(20)
    for seen, given in ((data.observations, obs), (data.next_observations, after)):
        for key, values in given.items():
            assert np.array_equal(seen[key].numpy(), values[data.actions[:, 0].numpy()])
    assert data.observations["image"].dtype == torch.uint8
    assert rb.memory.describe().get("frames", {}).get("distinct", 0) == 2 * frames


def test_spaces_of_no_arrays_are_refused_and_so_are_frames_of_nobody_knows_what():
    with pytest.raises(ValueError, match="observation 'a' space: expected one array of numbers"):
        columns(Dict(a=Text(3)), Discrete(2))
    with pytest.raises(ValueError, match=r"frames=2: which of \['a'\]"):
        columns(Dict(a=Discrete(2)), Discrete(2), frames=2)


def test_memories_of_several_parts_work_too():
    rb = ReplayBuffer(HybridBuffer(9, **columns(*SPACES["discrete"])))
    rb.add(*step(*SPACES["discrete"]), [{"task": 1}, {"task": 2}])
    assert rb.sample(7).observations.shape == (7, 4)


def test_whole_episodes_are_kept_when_the_script_says_where_they_are_cut():
    """Two environments: the first terminates at its third step, the other is cut at its fifth."""
    spaces = SPACES["discrete"]
    memory = EpisodeReservoir(50, extra=EpisodeReservoir.needs, **columns(*spaces))
    rb = ReplayBuffer(memory)
    for number in range(1, 6):
        obs, next_obs, actions, _, _ = step(*spaces, seed=number)
        terminations, truncations = np.array([[number == 3, False], [False, number == 5]])
        rewards = np.array([number, 10 * number], np.float64)
        infos = {"episode": {"r": rewards}, "_episode": truncations}
        rb.add(obs, next_obs, actions, rewards, terminations, infos, truncations)
    held = [memory.read(index) for index in memory.episodes()]
    assert [rows["reward"].tolist() for rows in held] == [[1, 2, 3], [10, 20, 30, 40, 50]]
    assert [rows["done"].any() for rows in held] == [True, False]
    assert [rows["truncated"].tolist()[-1] for rows in held] == [False, True]


def test_a_step_that_ends_in_both_ways_is_done_all_the_same():
    rb = ReplayBuffer(Memory(9, **columns(*SPACES["discrete"])))
    *rows, _ = step(*SPACES["discrete"])
    rb.add(*rows, [True, False], None, [True, True])
    held = rb.memory.read([0, 1])
    assert held["done"].tolist() == [True, False]
    assert held["truncated"].tolist() == [True, True]
