"""What a memory holds is in the logs of a real Stable-Baselines3 model."""

import csv

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.logger import configure

from buffers.adapters.sb3 import MemoryLog, MemoryReplayBuffer
from buffers.views import duplicates, effective_size


class Tasks(gym.Wrapper):
    """CartPole, which says that it is another task after some steps."""

    steps = 0

    def step(self, action):
        self.steps += 1
        *seen, info = self.env.step(action)
        return *seen, info | {"task": int(self.steps > 150)}


@pytest.fixture
def make():
    def model(env=None, **kwargs):
        env = Tasks(gym.make("CartPole-v1")) if env is None else env
        policy = "MultiInputPolicy" if isinstance(env.observation_space, spaces.Dict) else None
        settings = {"learning_starts": 50, "policy_kwargs": {"net_arch": [8]}, "seed": 0}
        memory = {"replay_buffer_class": MemoryReplayBuffer, "buffer_size": 200}
        return DQN(policy or "MlpPolicy", env, **settings | memory | kwargs)

    return model


def logged(model, folder, **kwargs):
    """What a model that is trained with a `MemoryLog` writes, line by line."""
    model.set_logger(configure(str(folder), ["csv"]))
    model.learn(300, log_interval=1, callback=MemoryLog(**kwargs))
    model.logger.close()
    with (folder / "progress.csv").open() as file:
        return list(csv.DictReader(file))


def test_rows_shares_ages_and_coverage_are_those_of_the_memory(make, tmp_path):
    model = make(replay_buffer_kwargs={"memory": "fifo"})
    line = logged(model, tmp_path, every=1)[-1]
    stored = int(line["time/total_timesteps"]) - 1  # the newest step comes after the callback
    assert float(line["memory/rows"]) == 200
    assert float(line["memory/share/1"]) == pytest.approx((stored - 150) / 200)
    assert float(line["memory/share/0"]) == pytest.approx(1 - (stored - 150) / 200)
    assert [float(line[f"memory/age_{name}"]) for name in ("min", "median", "max")] == [
        0,
        99.5,
        199,
    ]
    assert 0 < float(line["memory/coverage/0"]) <= 1


def test_the_last_batch_is_told_of_once_there_was_one(make, tmp_path):
    model, drawn = make(replay_buffer_kwargs={"memory": "fifo"}), []
    draw = model.replay_buffer.sample

    def note(samples):
        drawn.append(samples.index)
        return samples

    model.replay_buffer.sample = lambda *given, **also: note(draw(*given, **also))
    first, *_, last = logged(model, tmp_path, every=1)
    assert not first["memory/duplicates"]
    shares = [(duplicates(index), effective_size(index, np.ones(32)) / 32) for index in drawn]
    told = float(last["memory/duplicates"]), float(last["memory/effective_share"])
    assert any(told == pytest.approx(each) for each in shares[-20:])
    assert len({each[0] for each in shares}) > 1


def test_it_looks_every_so_many_steps(make, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "buffers.adapters.sb3.memory_log.held_by", lambda memory: seen.append(memory.seen) or {}
    )
    model = make(replay_buffer_kwargs={"memory": "reservoir"})
    logged(model, tmp_path, every=100)
    assert seen == [99, 199, 299]  # the newest step comes later


def test_dict_observations_have_no_coverage_and_all_else(make, tmp_path):
    class Env(gym.Env):
        observation_space = spaces.Dict({"a": spaces.Box(-1, 1, (2,), np.float32)})
        action_space = spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return {"a": np.zeros(2, np.float32)}, {}

        def step(self, action):
            ended = self.np_random.random() < 0.1
            return {"a": np.zeros(2, np.float32)}, 1.0, ended, False, {}

    line = logged(make(Env(), replay_buffer_kwargs={"memory": "fifo"}), tmp_path, every=1)[-1]
    assert float(line["memory/share/0"]) == 1
    assert not any("coverage" in name for name in line)


def test_what_the_memory_says_of_itself_is_told_when_training_ends(make, tmp_path):
    model = make(buffer_size=1_000, replay_buffer_kwargs={"memory": "reservoir"})
    with pytest.warns(UserWarning, match="memory: all 300 rows offered fit"):
        logged(model, tmp_path)


def test_a_model_with_another_buffer_is_refused_by_name(make):
    model = make(replay_buffer_class=None)
    with pytest.raises(ValueError, match="this model has ReplayBuffer: make it with"):
        model.learn(10, callback=MemoryLog())


def test_a_step_is_the_least_between_two_looks():
    with pytest.raises(ValueError, match="every 0: choose 1 step or more"):
        MemoryLog(every=0)
