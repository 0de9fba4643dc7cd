"""Training steps that weight rows and report TD errors, beside those of Stable-Baselines3."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import QRDQN, TQC, CrossQ
from stable_baselines3 import DDPG, DQN, SAC, TD3
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from buffers import PrioritizedBuffer, ReplayBuffer
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


VALUES, ACTORS = [DQN, QRDQN], [SAC, TD3, DDPG, TQC]


def learn(algorithm, memory, steps=64, n_steps=1, batch_size=30, normalized=False, **kwargs):
    env_id = "CartPole-v1" if issubclass(algorithm, tuple(VALUES)) else "Pendulum-v1"
    if env_id == "CartPole-v1":
        kwargs = {"target_update_interval": 10} | kwargs
    envs = DummyVecEnv([lambda: gym.make(env_id, max_episode_steps=12)] * 2)
    model = algorithm(
        "MlpPolicy",
        VecNormalize(envs) if normalized else envs,
        buffer_size=60,
        learning_starts=20,
        batch_size=batch_size,
        gradient_steps=2,
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
@pytest.mark.parametrize("algorithm", VALUES)
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
    rows, _ = model._terms(batch)
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
    _, error = model._terms(batch)
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


def test_an_algorithm_that_trains_otherwise_is_refused():
    with pytest.raises(ValueError, match=r"CrossQ has a training step of its own: .* for those of"):
        with_feedback(CrossQ)


# --- with an actor -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        (SAC, {}),
        (SAC, {"ent_coef": 0.1, "target_update_interval": 3, "n_steps": 3}),
        (SAC, {"use_sde": True}),
        (TD3, {"n_steps": 3}),
        (TD3, {"policy_delay": 3, "action_noise": NormalActionNoise(np.zeros(1), np.ones(1))}),
        (DDPG, {}),
        (TQC, {"n_steps": 3}),
        (TQC, {"ent_coef": 0.1, "top_quantiles_to_drop_per_net": 5}),
    ],
)
def test_with_weights_of_one_an_actor_and_its_critics_learn_bit_for_bit_as_in_sb3(
    algorithm, options
):
    own = learn(algorithm, Recording, normalized=True, **options)
    ours = learn(with_feedback(algorithm), Recording, normalized=True, **options)
    assert own._n_updates == ours._n_updates > 10
    assert torch.equal(parameters(own), parameters(ours))
    losses = [
        {k: v for k, v in m.logger.name_to_value.items() if "train/" in k} for m in (own, ours)
    ]
    assert losses[0] == losses[1] and "train/actor_loss" in losses[0]


def by_hand(model, batch, torch_seed):
    """Targets, and each critic's values of the batch, a row at a time; the same noise is drawn."""
    torch.manual_seed(torch_seed)
    entropy = 0.0
    if isinstance(model, TD3):
        noise = torch.empty_like(batch.actions).normal_(0, model.target_policy_noise)
        noise = noise.clamp(-model.target_noise_clip, model.target_noise_clip)
        action = (model.actor_target(batch.next_observations) + noise).clamp(-1, 1)
        log_prob = torch.zeros(len(action))
    else:
        model.actor.action_log_prob(batch.observations)  # the step draws these first
        entropy = float(model.log_ent_coef.exp())
        action, log_prob = model.actor.action_log_prob(batch.next_observations)
    targets = []
    for row in range(len(action)):
        part = slice(row, row + 1)
        seen = model.critic_target(batch.next_observations[part], action[part])
        if isinstance(model, TQC):
            lowest = np.sort(seen.numpy().reshape(-1))[: -2 * len(seen[0])]
            following = lowest.mean()
        else:
            following = min(float(value) for value in seen)
        following -= entropy * float(log_prob[row])
        target = float(batch.rewards[row, 0])
        targets.append(target if batch.dones[row] else target + 0.99 * following)
    values = model.critic(batch.observations, batch.actions)
    if isinstance(model, TQC):
        values = values.mean(2).unbind(1)
    return np.array(targets), np.stack([v.numpy().reshape(-1) for v in values], 1)


@pytest.mark.parametrize("algorithm", ACTORS)
def test_priorities_become_the_td_errors_of_the_batch_as_computed_by_hand(algorithm):
    model = learn(with_feedback(algorithm), PrioritizedBuffer, steps=60)
    memory = model.replay_buffer.memory
    batch = model.replay_buffer.sample(20)
    _, last = np.unique(batch.index[::-1], return_index=True)  # of repeats the last counts
    rows = 19 - last
    before = memory._priorities._tree.get(batch.index[rows])
    with torch.no_grad():
        target, values = by_hand(model, batch, torch_seed=5)
    torch.manual_seed(5)
    model.replay_buffer.sample = lambda *args, **kwargs: batch
    model.train(1, 20)
    error = np.abs(target[:, None] - values).max(1)
    after = memory._priorities._tree.get(batch.index[rows])
    unit = after / (error[rows] + 1e-6) ** 0.6
    assert np.allclose(unit / unit[0], 1, rtol=1e-3)
    assert (before != after).mean() > 0.9


@pytest.mark.parametrize("algorithm", [SAC, TD3, TQC])
def test_rows_of_no_weight_teach_critics_nothing_and_an_actor_all_the_same(algorithm):
    """Weights correct what Q values are regressed to; the actor's loss goes without."""
    model = learn(with_feedback(algorithm), Weightless, steps=40)
    first = learn(with_feedback(algorithm), Weightless, steps=20)
    pairs = [("critic", True), ("actor", False)]
    for name, same in pairs:
        before, after = (getattr(m, name).state_dict() for m in (first, model))
        assert all(torch.equal(before[k], after[k]) for k in before) is same, name


@pytest.mark.parametrize("algorithm", [SAC, TD3])
def test_the_critics_loss_is_the_weighted_mean_of_the_rows_losses(algorithm):
    model = learn(with_feedback(algorithm), Weighted, steps=60)
    batch = model.replay_buffer.sample(20)
    assert len(set(batch.weights.flatten().tolist())) == 2
    with torch.no_grad():
        target, values = by_hand(model, batch, torch_seed=5)
    torch.manual_seed(5)
    model.replay_buffer.sample = lambda *args, **kwargs: batch
    model.train(1, 20)
    loss = (batch.weights.numpy() * (target[:, None] - values) ** 2).mean(0).sum()
    shown = model.logger.name_to_value["train/critic_loss"]
    assert shown == pytest.approx((0.5 if algorithm is SAC else 1) * loss, rel=1e-4)


@pytest.mark.parametrize("algorithm", ACTORS)
def test_a_model_with_an_actor_is_saved_with_its_rows_and_goes_on(algorithm, tmp_path):
    model = learn(with_feedback(algorithm), "prioritized")
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "rows")
    envs = DummyVecEnv([lambda: gym.make("Pendulum-v1")] * 2)
    again = with_feedback(algorithm).load(tmp_path / "model", env=envs)
    again.load_replay_buffer(tmp_path / "rows")
    assert torch.equal(parameters(again), parameters(model))
    trees = [m.replay_buffer.memory._priorities._tree for m in (again, model)]
    assert np.array_equal(*(tree.get(np.arange(60)) for tree in trees))
    updates = again._n_updates
    again.learn(20, reset_num_timesteps=False)
    assert again._n_updates > updates
    assert not torch.equal(parameters(again), parameters(model))


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", [SAC, TD3])
def test_pendulum_is_learned_with_prioritised_replay(algorithm):
    """A random policy earns about -1200; -400 swings the pendulum up."""
    model = with_feedback(algorithm)(
        "MlpPolicy",
        "Pendulum-v1",
        learning_rate=1e-3,
        learning_starts=500,
        buffer_size=10_000,
        policy_kwargs={"net_arch": [64, 64]},
        replay_buffer_class=MemoryReplayBuffer,
        replay_buffer_kwargs={"memory": "prioritized"},
        action_noise=NormalActionNoise(np.zeros(1), 0.1 * np.ones(1)),
        seed=0,
        device="cpu",
    ).learn(6_000)
    env = Monitor(gym.make("Pendulum-v1"))
    env.reset(seed=7)
    assert evaluate_policy(model, env, 10)[0] > -400


def test_a_buffer_that_takes_no_feedback_is_refused():
    with warnings.catch_warnings(), pytest.raises(ValueError, match="ReplayBuffer takes no"):
        warnings.simplefilter("ignore")  # SB3 warns where memory for its large default is scarce
        with_feedback(DQN)("MlpPolicy", gym.make("CartPole-v1"), buffer_size=10)


@pytest.mark.parametrize("algorithm", [DQN, SAC])
def test_steps_that_sb3_would_not_pass_on_are_refused(algorithm):
    env_id = "CartPole-v1" if algorithm is DQN else "Pendulum-v1"

    def make(**kwargs):
        return with_feedback(algorithm)(
            "MlpPolicy",
            env_id,
            n_steps=3,
            buffer_size=60,
            replay_buffer_class=MemoryReplayBuffer,
            replay_buffer_kwargs={"memory": "fifo", **kwargs},
        )

    for kwargs in ({}, {"n_steps": 2, "gamma": 0.99}):
        with pytest.raises(ValueError, match="n_steps=3 does not reach the memory"):
            make(**kwargs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SB3 says that it does not pass them on
        assert make(n_steps=3, gamma=0.99).replay_buffer.n_steps == 3
    with pytest.raises(ValueError, match=r"gamma=0.9, and the algorithm has 0.99: give both"):
        make(n_steps=3, gamma=0.9)
