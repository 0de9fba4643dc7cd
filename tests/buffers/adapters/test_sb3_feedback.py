"""Training steps that weight rows and report TD errors, beside those of Stable-Baselines3."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import QRDQN, TQC
from stable_baselines3 import DQN, SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from buffers import ReplayBuffer
from buffers.adapters.sb3 import MemoryReplayBuffer, with_feedback


class Recording(ReplayBuffer):
    """Gives weights that a test chooses, and writes down what it is told."""

    weight = 1.0

    def __init__(self, capacity, **common):
        super().__init__(capacity, **common)
        self.told = []

    def _weigh(self, slots):
        uneven = 1 + slots % 2 if self.weight != 1 else 1
        return np.float32(self.weight) * np.ones(len(slots), np.float32) * np.float32(uneven)

    def feedback(self, index, td_error):
        self.told.append((index, td_error))


class Weighted(Recording):
    weight = 0.25


class Weightless(Recording):
    weight = 0.0


def learn(algorithm, memory, steps=80, n_steps=1, batch_size=30, normalized=False, **kwargs):
    envs = DummyVecEnv([lambda: gym.make("CartPole-v1", max_episode_steps=12)] * 2)
    model = algorithm(
        "MlpPolicy",
        VecNormalize(envs) if normalized else envs,
        buffer_size=60,
        learning_starts=20,
        batch_size=batch_size,
        gradient_steps=2,
        target_update_interval=10,
        replay_buffer_class=MemoryReplayBuffer,
        replay_buffer_kwargs={"memory": memory, "n_steps": n_steps, "gamma": 0.99},
        policy_kwargs={"net_arch": [8]},
        device="cpu",
        seed=0,
        **kwargs,
    )
    return model.learn(steps)


def parameters(model):
    return torch.cat([p.detach().flatten() for p in model.policy.parameters()])


@pytest.mark.parametrize("max_grad_norm", [10, 0.01])
@pytest.mark.parametrize("n_steps", [1, 3])
@pytest.mark.parametrize("algorithm", [DQN, QRDQN])
def test_with_weights_of_one_it_is_sb3s_own_training_bit_for_bit(algorithm, n_steps, max_grad_norm):
    kwargs = {"n_steps": n_steps, "max_grad_norm": max_grad_norm, "normalized": True}
    own = learn(algorithm, Recording, **kwargs)
    ours = learn(with_feedback(algorithm), Recording, **kwargs)
    assert own._n_updates == ours._n_updates > 10
    assert torch.equal(parameters(own), parameters(ours))
    name = "train/loss"
    assert own.logger.name_to_value[name] == ours.logger.name_to_value[name] != 0


@pytest.mark.parametrize("algorithm", [DQN, QRDQN])
def test_rows_of_no_weight_teach_nothing(algorithm):
    before = learn(with_feedback(algorithm), Weightless, steps=10)
    after = learn(with_feedback(algorithm), Weightless)
    assert after._n_updates > 10
    online = [name for name, _ in after.policy.named_parameters() if "target" not in name]
    for name in online:
        assert torch.equal(after.policy.state_dict()[name], before.policy.state_dict()[name])


def test_a_row_counts_as_much_as_its_weight():
    """The gradient of a batch is the weighted mean of its rows' gradients."""
    model = learn(with_feedback(DQN), Weighted, steps=20, max_grad_norm=1e9)
    batch = model.replay_buffer.sample(8)
    assert len(set(batch.weights.flatten().tolist())) == 2
    rows, _ = model._terms(model, batch)
    by_hand = torch.zeros(())
    for row in range(8):
        target = batch.rewards[row, 0]
        if not batch.dones[row]:
            target = (
                target + 0.99 * model.q_net_target(batch.next_observations[row : row + 1]).max()
            )
        q = model.q_net(batch.observations[row : row + 1])[0, batch.actions[row, 0]]
        error = (target - q).detach().abs()
        loss = 0.5 * error**2 if error < 1 else error - 0.5
        by_hand = by_hand + batch.weights[row, 0] * loss / 8
    torch.testing.assert_close((batch.weights * rows).mean().detach(), by_hand)
    model.replay_buffer.sample = lambda *args, **kwargs: batch
    model.train(1, 8)
    assert model.logger.name_to_value["train/loss"] == pytest.approx(float(by_hand))


@pytest.mark.parametrize("n_steps", [1, 3])
def test_the_memory_hears_of_every_row_that_was_trained_on(n_steps):
    model = learn(with_feedback(DQN), Recording, n_steps=n_steps)
    told = model.replay_buffer.memory.told
    assert len(told) == model._n_updates
    assert all(len(index) == len(error) == 30 for index, error in told)
    model.policy.optimizer.param_groups[0]["lr"] = 0.0
    model._update_learning_rate = lambda optimizer: None
    model.train(1, 30)
    index, error = told[-1]
    rows = model.replay_buffer.memory.read(index)
    with torch.no_grad():
        q = model.q_net(torch.from_numpy(rows["state"])).numpy()
        following = model.q_net_target(torch.from_numpy(rows["next_state"])).max(1).values.numpy()
    worth = rows["discount"] if n_steps > 1 else np.float32(0.99)
    target = rows["reward"] + worth * ~rows["done"] * following
    assert np.allclose(error, target - q[np.arange(30), rows["action"]], atol=1e-5)


def test_qrdqn_reports_the_error_of_the_mean():
    model = learn(with_feedback(QRDQN), Recording, steps=30)
    batch = model.replay_buffer.sample(20)
    _, error = model._terms(model, batch)
    with torch.no_grad():
        q = model.quantile_net(batch.observations).mean(1).gather(1, batch.actions)
        following = model.quantile_net_target(batch.next_observations).mean(1).amax(1, keepdim=True)
        target = batch.rewards + 0.99 * (1 - batch.dones) * following
    torch.testing.assert_close(error, (target - q)[:, 0], atol=1e-5, rtol=1e-5)


def test_a_saved_model_goes_on(tmp_path):
    model = learn(with_feedback(DQN), Recording)
    model.save(tmp_path / "model")
    envs = DummyVecEnv([lambda: gym.make("CartPole-v1")] * 2)
    again = with_feedback(DQN).load(tmp_path / "model", env=envs)
    assert torch.equal(parameters(again), parameters(model))
    again.learn(60)
    assert again.replay_buffer.memory.told


def test_it_is_the_same_class_every_time():
    assert with_feedback(DQN) is with_feedback(DQN)
    assert issubclass(with_feedback(DQN), DQN)
    assert with_feedback(DQN).__name__ == "DQN"


@pytest.mark.parametrize("algorithm", [SAC, TD3, TQC])
def test_an_algorithm_that_trains_otherwise_is_refused(algorithm):
    with pytest.raises(ValueError, match=rf"{algorithm.__name__} has a training step of its own"):
        with_feedback(algorithm)


def test_a_buffer_that_takes_no_feedback_is_refused():
    with warnings.catch_warnings(), pytest.raises(ValueError, match="ReplayBuffer takes no"):
        warnings.simplefilter("ignore")  # SB3 warns where memory for its large default is scarce
        with_feedback(DQN)("MlpPolicy", gym.make("CartPole-v1"), buffer_size=10)
