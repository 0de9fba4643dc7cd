"""Stable-Baselines3's agents behind our interface: theirs bit for bit, and resumable."""

import sys
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import QRDQN
from stable_baselines3 import DQN
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from agents import AGENTS, DQNOptions, NonFiniteLoss, forced_options
from experiments.checkpoint import load_checkpoint, save_checkpoint
from experiments.config import Flags

VALID = np.array([[True, True, False], [True, True, True]])
KINDS = {"sb3-dqn": DQN, "sb3-qrdqn": QRDQN}
SAME = {"double": False, "task_identity": "hidden"}  # beside textbook options
SLOW_TARGET = {"target_update_interval": 1_000}

both = pytest.mark.parametrize("name", KINDS)


@pytest.fixture
def make(options):
    """An agent of SB3's with one member per seed."""

    def agent(name, seeds=(0,), num_envs=4, shape=(3,), dtype=np.float32, **changed):
        space = SimpleNamespace(
            shape=shape, valid=VALID, scale=np.ones(2, np.float32), dtype=np.dtype(dtype)
        )
        chosen = options(**SAME | changed)
        fixed = forced_options(name, chosen)
        chosen = options(**SAME | changed | fixed)
        return AGENTS[name](space, chosen, [np.random.default_rng(s) for s in seeds], num_envs)

    return agent


def weights(agent, member=0):
    return agent.state_dict()["models"][str(member)]["weights"]


@both
@pytest.mark.parametrize("discount", [0.9, 0.729])
def test_a_round_of_gradient_steps_is_sb3s_own_bit_for_bit(make, rows, same, name, discount):
    """The real, unmodified model is given the same weights and the same rows."""
    agent = make(name, **SLOW_TARGET)
    box = gym.spaces.Box(-np.inf, np.inf, (3,))
    quantiles = {"n_quantiles": 5} if name == "sb3-qrdqn" else {}
    model = KINDS[name](
        "MlpPolicy",
        env=None,
        learning_rate=3e-3,
        gamma=0.9,
        max_grad_norm=10.0,
        policy_kwargs={
            "net_arch": [16, 16],
            "optimizer_class": torch.optim.Adam,
            "optimizer_kwargs": {"eps": 1e-5},
            **quantiles,
        },
        buffer_size=1,
        device="cpu",
        _init_setup_model=False,
    )
    model.observation_space, model.action_space, model.n_envs = box, gym.spaces.Discrete(3), 1
    model._setup_model()
    model.set_logger(Logger(None, []))
    model.policy.load_state_dict({k: torch.from_numpy(w) for k, w in weights(agent).items()})
    data = rows(n=40)
    data["discount"][:] = discount
    batches = iter(np.split(np.arange(40), 4))

    def sample(batch_size, env):
        drawn = next(batches)
        part = {name: torch.from_numpy(column[0, drawn]) for name, column in data.items()}
        return ReplayBufferSamples(
            part["state"],
            part["action"][:, None],
            part["next_state"],
            part["done"][:, None].float(),
            part["reward"][:, None],
            part["discount"][:, None] if discount != 0.9 else None,
        )

    model.replay_buffer = SimpleNamespace(sample=sample)
    model.train(gradient_steps=4, batch_size=10)
    agent.update(data, np.ones((1, 40), np.float32), steps=4, lr=3e-3)
    theirs = {k: w.numpy() for k, w in model.policy.state_dict().items()}
    assert same(weights(agent), theirs)


@both
def test_the_target_follows_as_often_and_as_far_as_the_options_say(make, rows, learn, name):
    agent = make(name, target_update_interval=2, target_rate=0.25)

    def networks():
        own = {k: w.copy() for k, w in weights(agent).items()}
        target = {k.replace("_target", "", 1): w for k, w in own.items() if "_target" in k}
        return {k: w for k, w in own.items() if "_target" not in k}, target

    _, start = networks()
    learn(agent, rows())
    _, target = networks()
    assert all(np.array_equal(target[k], start[k]) for k in start)
    learn(agent, rows())
    online, target = networks()
    for k in start:
        assert np.allclose(target[k], 0.75 * start[k] + 0.25 * online[k], atol=1e-6), k


@both
def test_rows_of_no_weight_teach_nothing_but_have_errors(make, rows, learn, same, name):
    agent = make(name, seeds=(0, 1), **SLOW_TARGET)
    before = weights(agent)
    td_error, info = learn(agent, rows(seeds=(0, 1)), np.zeros((2, 8), np.float32))
    assert same(weights(agent), before)
    assert td_error.shape == (2, 8)
    assert np.allclose(info["td_error"], np.abs(td_error).mean(1))
    assert (info["loss"] == 0).all()


@both
def test_actions_that_a_task_lacks_are_never_chosen(make, name):
    agent = make(name, num_envs=50)
    obs = np.random.default_rng(0).normal(size=(1, 50, 3)).astype(np.float32)
    q = agent.q(obs, np.zeros((1, 50), int))
    assert np.isneginf(q[..., 2]).all() and np.isfinite(q[..., :2]).all()
    assert np.array_equal(agent.q_of(0, obs[0], 0), q[0])
    assert np.isfinite(agent.q_of(0, obs[0], 1)).all()
    assert agent.greedy(obs, 0).max() <= 1
    assert max(agent.act(obs, 0, epsilon).max() for epsilon in (0, 0.5, 1)) <= 1
    assert agent.act(obs, 1, 1.0).max() == 2


@both
def test_a_member_learns_the_same_alone_and_among_others(make, rows, learn, same, name):
    together, alone = make(name, seeds=(3, 4)), make(name, seeds=(4,))
    learn(together, rows(seeds=(3, 4)))
    learn(alone, rows(seeds=(4,)))
    assert same(weights(together, 1), weights(alone))
    assert not same(weights(together, 0), weights(together, 1))


@both
def test_an_agent_made_again_from_a_file_goes_on_the_same(make, rows, learn, same, tmp_path, name):
    agent = make(name, seeds=(0, 1), target_update_interval=3)
    for _ in range(2):
        learn(agent, rows(seeds=(0, 1)))
        agent.act(np.zeros((2, 4, 3), np.float32), 1, 0.5)
    save_checkpoint(tmp_path / "file", agent.state_dict())
    again = make(name, seeds=(5, 6), target_update_interval=3)
    again.load_state_dict(load_checkpoint(tmp_path / "file"))
    for each in (agent, again):
        for _ in range(2):
            learn(each, rows(seeds=(2, 3)))
        each.act(np.zeros((2, 4, 3), np.float32), 1, 0.5)
    assert same(agent.state_dict(), again.state_dict())


@both
def test_the_optimiser_starts_anew_at_a_task_if_asked_to(make, rows, learn, name):
    agent = make(name)
    learn(agent, rows())
    agent.start_task(0, reset_optimizer=False)
    assert agent.state_dict()["models"]["0"]["adam"]
    agent.start_task(0, reset_optimizer=True)
    assert not agent.state_dict()["models"]["0"]["adam"]


@both
def test_a_loss_that_is_not_finite_leaves_the_agent_as_it_was(make, rows, learn, same, name):
    agent = make(name, seeds=(0, 1))
    learn(agent, rows(seeds=(0, 1)))
    before, data = agent.state_dict(), rows(seeds=(0, 1), n=16)
    data["reward"][1, 3] = np.nan
    with pytest.raises(NonFiniteLoss, match=r"member \[1\]"):
        agent.update(data, np.ones((2, 16), np.float32), steps=2, lr=1e-3)
    assert same(agent.state_dict(), before)


@both
def test_pytorchs_global_random_state_is_left_alone(make, rows, learn, name):
    before = torch.get_rng_state()
    learn(make(name), rows())
    assert torch.equal(torch.get_rng_state(), before)


def test_images_go_through_sb3s_network(make, rows, learn):
    agent = make("sb3-dqn", shape=(1, 36, 36), dtype=np.uint8)
    data = rows(shape=(1, 36, 36))
    data |= {k: (99 * np.abs(data[k])).astype(np.uint8) for k in ("state", "next_state")}
    before = weights(agent)
    learn(agent, data)
    changed = [k for k, w in weights(agent).items() if not np.array_equal(w, before[k])]
    assert any("cnn" in k for k in changed)


@both
def test_an_agent_says_how_many_weights_its_networks_have(make, name):
    one, two = make(name), make(name, seeds=(0, 1))
    assert two.num_parameters == 2 * one.num_parameters
    assert one.nbytes == 16 * one.num_parameters  # with the target, and Adam's two moments


@both
def test_images_too_small_for_it_are_refused(make, name):
    with pytest.raises(ValueError, match="images of 8x8 are too small"):
        make(name, shape=(3, 8, 8), dtype=np.uint8)


@both
def test_the_state_of_another_network_is_refused(make, name):
    with pytest.raises(ValueError, match="another agent"):
        make(name).load_state_dict(make(name, hidden=(8,)).state_dict())


# --- what SB3's agents have no choice in ----------------------------------------------------------


def test_defaults_that_they_cannot_do_are_named_with_what_they_do():
    changed = forced_options("sb3-dqn", DQNOptions())
    assert changed["methods"] == "none"
    assert changed["double"] is False
    assert forced_options("sb3-qrdqn", DQNOptions())["distribution"] == "quantiles"
    assert forced_options("dqn", DQNOptions()) == {}
    assert forced_options("sb3-dqn", DQNOptions(**changed)) == {}


@pytest.mark.parametrize(
    "chosen",
    [{"dueling": True}, {"distribution": "categories"}, {"head": "conditioned"}, {"noisy": True}],
)
@both
def test_what_is_chosen_and_cannot_be_is_refused(name, chosen):
    (option,) = chosen
    with pytest.raises(ValueError, match=f"{name} has no {option}="):
        forced_options(name, DQNOptions(**chosen))


def test_what_is_compiled_by_itself_is_not_for_them_and_what_is_asked_for_is_refused():
    assert forced_options("sb3-dqn", Flags())["compile"] == "off"
    with pytest.raises(ValueError, match="sb3-dqn has no compile=on"):
        forced_options("sb3-dqn", Flags(compile="on"))


def test_an_agent_is_not_made_with_options_that_are_not_its_own(options):
    space = SimpleNamespace(shape=(3,), valid=VALID, dtype=np.dtype(np.float32))
    with pytest.raises(ValueError, match="sb3-dqn needs double=False"):
        AGENTS["sb3-dqn"](space, options(task_identity="hidden"), [np.random.default_rng(0)], 1)


@pytest.mark.parametrize(
    ("name", "library"), [("sb3-dqn", "stable_baselines3"), ("sb3-qrdqn", "sb3_contrib")]
)
def test_without_the_library_the_extra_is_named(make, monkeypatch, name, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ValueError, match=r"pip install 'retain-rl\[sb3\]'"):
        make(name)


@both
def test_q_is_the_last_layer_over_the_features(make, rows, name):
    agent, obs = make(name, (0, 1)), rows((0, 1), n=6)["state"]
    net = "quantile_net.quantile_net.4" if name == "sb3-qrdqn" else "q_net.q_net.4"
    for member in range(2):
        seen = agent.features_of(member)(obs[member], np.ones(6, int))
        own = weights(agent, member)
        q = (seen @ own[f"{net}.weight"].T + own[f"{net}.bias"]).reshape(6, -1, 3).mean(1)
        assert np.allclose(q, agent.q_of(member, obs[member], 1), atol=1e-5)
