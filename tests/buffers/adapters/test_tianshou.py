"""Our memories inside Tianshou 2, with its own Collector, algorithms and trainer."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest

from buffers import (
    BalancedReservoir,
    Column,
    EpisodeReservoir,
    HybridBuffer,
    ReplayBuffer,
    ReservoirBuffer,
)

numba = pytest.importorskip("numba", reason="Tianshou needs it: pip install 'retain-rl[tianshou]'")
# Tianshou compiles a few functions in every process, which takes longer than all of these tests.
with pytest.MonkeyPatch.context() as patch:
    patch.setattr(numba.config, "DISABLE_JIT", True)
    pytest.importorskip("tianshou", reason="it is missing: pip install 'retain-rl[tianshou]'")
import torch
from tianshou.algorithm.algorithm_base import policy_within_training_step
from tianshou.algorithm.modelfree.dqn import DQN, DiscreteQLearningPolicy
from tianshou.algorithm.modelfree.qrdqn import QRDQN, QRDQNPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Batch, Collector, CollectStats
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OffPolicyTrainerParams
from tianshou.utils.net.common import Net

from buffers.adapters.tianshou import MemoryVectorBuffer

STATE = Column((4,))
GAMMA = 0.9


class Task(gym.Wrapper):
    """Says its number in every info."""

    def __init__(self, env, task):
        super().__init__(env)
        self.task = task

    def step(self, action):
        *step, info = self.env.step(action)
        return *step, info | {"task": self.task}


class Recording(ReplayBuffer):
    """Weighs rows by where they are and keeps the errors it is told of."""

    def _weigh(self, slots):
        return (1 + slots).astype(np.float32)

    def feedback(self, index, td_error):
        self.told = index, td_error


def vector(envs=2, tasks=()):
    tasks = tasks or (None,) * envs

    def maker(task):
        env = gym.make("CartPole-v1")
        return lambda: env if task is None else Task(env, task)

    made = DummyVectorEnv([maker(task) for task in tasks])
    made.seed(0)
    return made


def make_dqn(**options):
    space = gym.spaces.Discrete(2)
    net = Net(state_shape=(4,), action_shape=2, hidden_sizes=(16,))
    policy = DiscreteQLearningPolicy(model=net, action_space=space, eps_training=0.5)
    optim = AdamOptimizerFactory(lr=1e-2)
    return DQN(policy=policy, optim=optim, gamma=GAMMA, target_update_freq=50, **options)


def make_qrdqn():
    space = gym.spaces.Discrete(2)
    net = Net(state_shape=(4,), action_shape=2, hidden_sizes=(16,), num_atoms=8)
    policy = QRDQNPolicy(model=net, action_space=space, eps_training=0.5)
    return QRDQN(policy=policy, optim=AdamOptimizerFactory(lr=1e-2), num_quantiles=8)


@pytest.fixture
def dqn():
    torch.manual_seed(0)
    return make_dqn()


def collected(memory, policy, steps=60, **options):
    """A buffer through which a Collector has passed `steps` steps of two environments."""
    buffer = MemoryVectorBuffer(memory, total_size=1000, buffer_num=2)
    collector = Collector[CollectStats](policy, vector(**options), buffer)
    collector.reset()
    with policy_within_training_step(policy):
        collector.collect(n_step=steps)
    return buffer


def update(algorithm, buffer, rows):
    with policy_within_training_step(algorithm.policy):
        return algorithm.update(buffer=buffer, sample_size=rows)


def values(algorithm, states, old=False):
    model = algorithm.model_old if old else algorithm.policy.model
    with torch.no_grad():
        return model(torch.from_numpy(states))[0].numpy()


def td_error_by_hand(algorithm, data):
    """Double DQN: the network chooses, its old copy judges; no bootstrap where terminated."""
    row = np.arange(len(data["reward"]))
    best = values(algorithm, data["next_state"]).argmax(1)
    after = values(algorithm, data["next_state"], old=True)[row, best]
    target = data["reward"] + GAMMA * ~data["done"] * after
    return target - values(algorithm, data["state"])[row, data["action"]]


def test_every_row_of_the_collector_is_offered_and_every_sample_is_of_the_memory(dqn):
    memory = ReplayBuffer(500, state=STATE)
    buffer = collected(memory, dqn.policy)
    assert memory.seen == len(memory) == len(buffer) == 60
    rings, rows = buffer[:], memory.read(memory.rows())
    ours = {(*s, a, *n) for s, a, n in zip(rows["state"].tolist(), rows["action"].tolist(),
                                           rows["next_state"].tolist(), strict=True)}  # fmt: skip
    theirs = {(*s, a, *n) for s, a, n in zip(rings.obs.tolist(), rings.act.tolist(),
                                             rings.obs_next.tolist(), strict=True)}  # fmt: skip
    assert ours == theirs
    assert rows["done"].sum() == rings.terminated.sum() > 0
    memory.clear()
    memory.add({k: np.concatenate([v[:1], v[-1:]]) for k, v in rows.items()})
    batch, indices = buffer.sample(20)
    assert {tuple(s) for s in batch.obs.tolist()} == {
        tuple(s) for s in rows["state"][[0, -1]].tolist()
    }
    assert np.array_equal(buffer[indices].obs_next, batch.obs_next)
    assert np.array_equal(buffer.rew[indices], batch.rew)


def test_whole_episodes_of_environments_side_by_side_are_kept(dqn):
    memory = EpisodeReservoir(500, state=STATE, extra=EpisodeReservoir.needs)
    collected(memory, dqn.policy, steps=200)
    held = [memory.read(index) for index in memory.episodes()]
    assert len(held) > 4
    for rows in held:
        assert np.array_equal(rows["state"][1:], rows["next_state"][:-1])
        assert (rows["done"] | rows["truncated"]).tolist() == [False] * (len(rows["done"]) - 1) + [
            True
        ]


def rows_of(envs, first):
    """A step of these environments, whose states say where they are in their episodes."""
    state = np.array([[env, first, 0, 0] for env in envs], np.float32)
    ended = np.full(len(envs), first % 3 == 2)
    return Batch(
        obs=state,
        act=np.zeros(len(envs), int),
        rew=np.ones(len(envs)),
        obs_next=state + np.float32([0, 1, 0, 0]),
        terminated=ended,
        truncated=np.zeros(len(envs), bool),
        done=ended,
        info=Batch(),
    )


def test_whole_episodes_are_told_apart_by_their_environment_where_only_some_are_ready():
    memory = EpisodeReservoir(50, state=STATE, extra=EpisodeReservoir.needs)
    buffer = MemoryVectorBuffer(memory, total_size=100, buffer_num=4)
    for first, envs in [(0, [1, 3]), (0, [0]), (1, [3]), (1, [0, 1]), (2, [0, 3]), (2, [1])]:
        buffer.add(rows_of(envs, first), envs)
    held = [memory.read(index)["state"].tolist() for index in memory.episodes()]
    whole = [[[env, step, 0, 0] for step in range(3)] for env in (1, 3, 0)]
    assert sorted(held) == sorted(whole)


def test_a_reset_in_mid_episode_does_not_join_two_episodes():
    memory = EpisodeReservoir(50, state=STATE, extra=EpisodeReservoir.needs)
    buffer = MemoryVectorBuffer(memory, total_size=100, buffer_num=2)
    buffer.add(rows_of([0, 1], 0))
    buffer.reset()
    with pytest.raises(ValueError, match=r"environment 0 was reset .* end_task"):
        buffer.add(rows_of([0, 1], 0))
    assert len(buffer) == 0
    memory.end_task()
    for first in range(3):
        buffer.add(rows_of([0, 1], first))
    assert [len(index) for index in memory.episodes()] == [3, 3]


def test_the_loss_is_that_of_the_memorys_rows_and_weights_and_its_errors_come_back(dqn):
    memory = Recording(500, state=STATE)
    buffer = collected(memory, dqn.policy)
    twin = copy.deepcopy(memory)
    for _ in range(3):
        data, index, weight = twin.sample(32)
        expected = td_error_by_hand(dqn, data)
        loss = update(dqn, buffer, 32).loss
        assert loss == pytest.approx((weight * expected**2).mean(), rel=1e-4)
        assert np.array_equal(memory.told[0], index)
        assert memory.told[1] == pytest.approx(expected, abs=1e-4)


def test_a_truncated_row_bootstraps_and_a_terminated_one_does_not(dqn):
    memory = ReplayBuffer(2, state=STATE)
    ones = np.ones((2, 4), np.float32)
    rows = {"state": ones, "next_state": ones, "action": [0, 0], "reward": [1.0, 1.0]}
    memory.add(rows | {"done": [True, False], "truncated": [False, True]})
    buffer = MemoryVectorBuffer(memory, total_size=4, buffer_num=2)  # its rings never saw a row
    batch, indices = buffer.sample(16)
    returns = dqn._preprocess_batch(batch, buffer, indices).returns.flatten().numpy()
    after = values(dqn, ones[:1]).max()
    assert returns == pytest.approx(np.where(batch.terminated, 1, 1 + GAMMA * after), rel=1e-5)
    assert set(batch.terminated) == {True, False}


@pytest.mark.parametrize("make", [make_dqn, make_qrdqn])
def test_tianshous_own_trainer_trains_on_a_memory(make):
    torch.manual_seed(0)
    algorithm = make()
    before = copy.deepcopy(algorithm.policy.state_dict())
    memory = HybridBuffer(100, rows_per_task=50, draw_current=True, state=STATE)
    buffer = MemoryVectorBuffer(memory, total_size=1000, buffer_num=2)
    algorithm.run_training(
        OffPolicyTrainerParams(
            training_collector=Collector[CollectStats](algorithm.policy, vector(), buffer),
            max_epochs=1, epoch_num_steps=120, collection_step_num_env_steps=20, batch_size=32,
            update_step_num_gradient_steps_per_sample=0.5, verbose=False, show_progress=False,
        )
    )  # fmt: skip
    assert memory.seen == 120
    assert len(memory.memory) == 50
    after = algorithm.policy.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_the_task_travels_in_infos(dqn):
    memory = BalancedReservoir(20, state=STATE)
    buffer = collected(memory, dqn.policy, steps=40, tasks=(3, 5))
    assert {task: len(memory.rows(task)) for task in (3, 5)} == {3: 10, 5: 10}
    assert set(buffer.sample(64)[0].info.task) == {3, 5}


def test_a_new_collector_empties_the_rings_and_not_the_memory(dqn):
    memory = ReservoirBuffer(500, state=STATE)
    buffer = collected(memory, dqn.policy)
    Collector[CollectStats](dqn.policy, vector(), buffer).reset()
    assert len(buffer) == 0
    assert len(memory) == 60
    update(dqn, buffer, 32)


def test_a_pickled_buffer_draws_the_same_afterwards(dqn):
    buffer = collected(ReservoirBuffer(30, state=STATE), dqn.policy)
    twin = pickle.loads(pickle.dumps(buffer))
    assert np.array_equal(buffer.sample(32)[0].obs, twin.sample(32)[0].obs)


def test_what_a_memory_cannot_do_is_refused_with_the_reason(dqn):
    buffer = collected(ReservoirBuffer(30, state=STATE), dqn.policy)
    with pytest.raises(ValueError, match="n_step_return_horizon=1"):
        update(make_dqn(n_step_return_horizon=3), buffer, 8)
    with pytest.raises(ValueError, match="largest_sample"):
        buffer.sample(2000)
    with pytest.raises(ValueError, match="environment 2: this buffer has 2 rings"):
        Collector(dqn.policy, vector(tasks=(0, 1, 2)), buffer).collect(
            n_step=3, reset_before_collect=True
        )


def test_a_row_is_the_same_in_the_memory_and_in_its_sample():
    memory = ReplayBuffer(9, state=STATE)
    buffer = MemoryVectorBuffer(memory, total_size=8, buffer_num=2)
    given = Batch(
        obs=np.arange(8.0).reshape(2, 4), act=np.array([0, 1]), rew=np.array([0.5, 1.5]),
        terminated=np.array([True, False]), truncated=np.array([False, True]),
        obs_next=np.arange(8.0, 16).reshape(2, 4), info=Batch(),
    )  # fmt: skip
    buffer.add(given)
    stored = memory.read([0, 1])
    batch, _ = buffer.sample(20)
    first = batch.act.argmin(), batch.act.argmax()
    names = {"obs": "state", "act": "action", "rew": "reward", "obs_next": "next_state",
             "terminated": "done", "truncated": "truncated"}  # fmt: skip
    for theirs, ours in names.items():
        assert np.array_equal(stored[ours], given[theirs]), ours
        assert np.array_equal(batch[theirs][[*first]], given[theirs]), theirs
    assert batch.done.all()


def test_a_row_that_the_memory_refuses_is_in_neither(dqn):
    memory = ReservoirBuffer(30, state=STATE)
    buffer = collected(memory, dqn.policy)
    row = Batch(obs=np.full((2, 4), np.nan), act=np.zeros(2, int), rew=np.zeros(2),
                terminated=np.zeros(2, bool), truncated=np.zeros(2, bool),
                obs_next=np.zeros((2, 4)), info=Batch())  # fmt: skip
    with pytest.raises(ValueError, match="'state'"):
        buffer.add(row)
    assert (len(buffer), memory.seen) == (60, 60)


def test_observations_that_are_dicts_are_columns_and_frames_of_them_are_stored_once():
    """Rows as a Collector adds them: stacks of two images, which an environment's rows share."""
    state = {"image": Column((2, 3, 3), np.uint8, frames=2), "speed": Column((2,))}
    memory = ReplayBuffer(50, state=state)
    buffer = MemoryVectorBuffer(memory, total_size=40, buffer_num=2)

    def seen(time):
        grey = np.array([[time, time + 1], [time + 50, time + 51]], np.uint8)
        image = np.broadcast_to(grey[:, :, None, None], (2, 2, 3, 3))
        return Batch(image=image, speed=np.full((2, 2), time, np.float32))

    for time in range(10):
        never, row = np.zeros(2, bool), {"obs": seen(time), "obs_next": seen(time + 1)}
        row |= {"terminated": never, "truncated": never, "done": never}
        buffer.add(Batch(act=np.arange(2), rew=np.ones(2), **row))
    batch, _ = buffer.sample(30)
    time = batch.obs.speed[:, 0]
    assert batch.obs.image.dtype == np.uint8
    assert np.array_equal(batch.obs.image[:, 1, 0, 0], 1 + time + 50 * batch.act)
    assert np.array_equal(batch.obs_next.image[:, 1], 1 + batch.obs.image[:, 1])
    assert np.array_equal(batch.obs_next.speed[:, 1], 1 + time)
    assert memory.describe()["frames"]["distinct"] == 2 * 12
