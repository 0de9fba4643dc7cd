"""The moments: a method acts at each with the right values, alone, among others, together.

The methods here only tell what they were given, or do one thing that can be worked out by hand.
"""

import numpy as np
import pytest
import torch

from agents import METHODS, Method, NonFiniteLoss


@pytest.fixture
def add(monkeypatch):
    """Registers a method under its name."""

    def register(name: str, **moments) -> None:
        monkeypatch.setitem(METHODS, name, lambda model: Method(name, **moments))

    return register


@pytest.fixture(params=[(0,), (0, 1, 2)], ids=["one member", "three members"])
def seeds(request):
    return request.param


def weightless(data) -> np.ndarray:
    """Weights that leave no TD gradient."""
    return np.zeros(data["reward"].shape, np.float32)


def test_start_each_member_begins_with_what_init_makes_of_its_weights(add, agent, seeds):
    add("probe", init=lambda theta: {"anchor": 2 * theta, "count": theta.new_zeros(())})
    mine = agent(seeds, methods="probe")
    assert torch.equal(mine.state["probe.anchor"], 2 * mine.state["theta"])
    assert mine.state["probe.count"].shape == (len(seeds),)
    assert len(set(mine.state["theta"][:, 0].tolist())) == len(seeds)


def test_loss_term_its_gradient_is_added_to_that_of_the_td_loss(add, agent, rows, learn, seeds):
    add("l2", loss=lambda theta, state, batch, q: 0.5 * 3 * theta.square().sum())
    plain = agent(seeds, gradient_clip=0.0)
    mine = agent(seeds, gradient_clip=0.0, methods="l2")
    theta, data = mine.state["theta"].clone(), rows(seeds)
    (_, expected), (_, info) = learn(plain, data), learn(mine, data)
    difference = 10 * (mine.state["adam_mean"] - plain.state["adam_mean"])
    assert torch.allclose(difference, 3 * theta, atol=1e-5)
    assert np.allclose(info["l2_loss"], 1.5 * theta.square().sum(1), rtol=1e-5)
    assert np.allclose(info["loss"], info["td_loss"] + info["l2_loss"])
    assert np.array_equal(info["td_loss"], expected["td_loss"])


def test_loss_term_sees_its_state_the_batch_and_the_q_values_of_the_batch(
    add, agent, rows, learn, seeds
):
    add(
        "probe",
        init=lambda theta: {"factor": theta[0].clone()},
        loss=lambda theta, state, batch, q: state["factor"] * (batch["reward"] @ q).sum(),
    )
    mine, data = agent(seeds, methods="probe"), rows(seeds, task=1)
    factor, q = mine.state["theta"][:, 0].numpy().copy(), mine.q(data["state"], data["task"])
    _, info = learn(mine, data)
    expected = factor * np.einsum("mb,mba->m", data["reward"], q)
    assert np.allclose(info["probe_loss"], expected, atol=1e-5)


def test_penalty_joins_after_the_gradient_rules(add, agent, rows, learn, seeds):
    add(
        "both",
        penalty=lambda theta, state, batch: 0.5 * 3 * theta.square().sum(),
        gradient=lambda gradient, theta, state, batch: 0 * gradient,
    )
    mine, data = agent(seeds, gradient_clip=0.0, methods="both"), rows(seeds)
    theta = mine.state["theta"].clone()
    _, info = learn(mine, data)
    assert torch.allclose(10 * mine.state["adam_mean"], 3 * theta, atol=1e-6)
    assert np.allclose(info["both_penalty"], 1.5 * theta.square().sum(1), rtol=1e-5)
    assert np.allclose(info["loss"], info["td_loss"] + info["both_penalty"])


def test_a_penalty_that_becomes_infinite_is_named_and_the_state_stays(add, agent, rows, learn):
    add("wild", penalty=lambda theta, state, batch: torch.inf * theta.square().sum())
    mine = agent(methods="wild")
    before = mine.state["theta"].clone()
    with pytest.raises(NonFiniteLoss, match="wild_penalty became NaN or infinite"):
        learn(mine, rows())
    assert torch.equal(mine.state["theta"], before)


def test_rows_of_another_task_than_the_one_begun_are_old(add, agent, rows, learn, seeds):
    add("probe", loss=lambda theta, state, batch, q: batch["old"].sum() + 0 * q.sum())
    mine, data = agent(seeds, methods="probe"), rows(seeds)
    for task in (0, 1, 0):
        mine.start_task(task, reset_optimizer=False)
        _, info = learn(mine, data)
        assert np.array_equal(info["probe_loss"], (data["task"] != task).sum(1))


def test_reserved_old_rows_stay_out_of_the_td_loss(add, agent, rows, learn, seeds):
    add("reserve", reserves_old=True)
    mine, plain = agent(seeds, methods="reserve"), agent(seeds)
    data = rows(seeds)
    weight = (data["task"] == 1) * np.float32(8)
    for each in (mine, plain):
        each.start_task(1, reset_optimizer=False)
    learn(mine, data)
    learn(plain, data, weight / weight.sum(1, keepdims=True) * 8)  # the mean over task 1's rows
    assert torch.allclose(mine.state["theta"], plain.state["theta"], atol=1e-6)
    _, info = learn(mine, rows(seeds, task=0))
    assert (info["td_loss"] == 0).all()


def test_a_method_that_must_be_told_the_task_is_refused_where_it_is_hidden(add, agent):
    add("told", needs_tasks=True)
    assert agent(methods="told").methods
    with pytest.raises(ValueError, match="told must be told the task: not with task_identity"):
        agent(methods="told", task_identity="hidden")


def test_gradient_rule_can_hold_weights_still(add, agent, rows, learn, seeds):
    add(
        "freeze",
        init=lambda theta: {"free": (torch.arange(len(theta)) % 2).to(theta)},
        gradient=lambda gradient, theta, state, batch: gradient * state["free"],
    )
    mine = agent(seeds, methods="freeze")
    before = mine.state["theta"].clone()
    for step in range(5):
        learn(mine, rows([10 * step + seed for seed in seeds]))
    moved = mine.state["theta"] != before
    assert not moved[:, ::2].any()
    assert (moved[:, 1::2].float().mean(1) > 0.5).all()


def test_gradient_rule_sees_weights_state_and_batch_and_comes_before_clipping(
    add, agent, rows, learn, seeds
):
    add(
        "probe",
        init=lambda theta: {"factor": theta[0].abs()},
        gradient=lambda gradient, theta, state, batch: (
            gradient + 1e3 * state["factor"] * batch["reward"].sum() * theta
        ),
    )
    mine, data = agent(seeds, methods="probe", gradient_clip=2.0), rows(seeds)
    mine.state["target"] = mine.state["target"] + 1
    theta = mine.state["theta"].numpy().copy()
    _, info = learn(mine, data, weightless(data))
    size = 1e3 * np.abs(theta[:, 0]) * data["reward"].sum(1)
    expected = size[:, None] * theta
    norm = np.linalg.norm(expected, axis=1)
    assert (norm > 2).all()
    assert np.allclose(info["gradient_norm"], norm, rtol=1e-4)
    clipped = 10 * mine.state["adam_mean"].numpy()
    assert np.allclose(clipped, 2 * expected / norm[:, None], atol=1e-5)


def test_after_step_the_way_gone_can_be_added_up(add, agent, rows, learn, seeds):
    def after(theta, state, before, gradient, batch):
        return theta, {
            "way": state["way"] + theta - before,
            "work": state["work"] - gradient @ (theta - before),
            "reward": state["reward"] + batch["reward"].sum(),
        }

    def init(theta):
        zero = theta.new_zeros(())
        return {"way": torch.zeros_like(theta), "work": zero, "reward": zero}

    add("path", init=init, after_step=after)
    plain, mine = agent(seeds, gradient_clip=0.0), agent(seeds, gradient_clip=0.0, methods="path")
    start, work, reward = mine.state["theta"].clone(), torch.zeros(len(seeds)), 0
    for step in range(5):
        data, mean = rows([10 * step + seed for seed in seeds]), plain.state["adam_mean"].clone()
        before = plain.state["theta"].clone()
        learn(plain, data)
        learn(mine, data)
        # Adam's mean tells the gradient: m' = 0.9 m + 0.1 g.
        gradient = 10 * (plain.state["adam_mean"] - 0.9 * mean)
        work = work - (gradient * (plain.state["theta"] - before)).sum(1)
        reward = reward + data["reward"].sum(1)
    assert torch.equal(mine.state["theta"], plain.state["theta"])
    assert torch.allclose(mine.state["path.way"], mine.state["theta"] - start, atol=1e-6)
    assert torch.allclose(mine.state["path.work"], work, rtol=1e-3)
    assert np.allclose(mine.state["path.reward"], reward, atol=1e-5)


def test_after_step_may_change_the_weights_and_the_target_follows(add, agent, rows, learn, seeds):
    add("halve", after_step=lambda theta, state, before, gradient, batch: (before / 2, state))
    mine = agent(seeds, methods="halve", target_update_interval=1, target_rate=1.0)
    before = mine.state["theta"].clone()
    learn(mine, rows(seeds))
    assert torch.equal(mine.state["theta"], before / 2)
    assert torch.equal(mine.state["target"], before / 2)


def test_end_task_sees_the_samples_and_may_change_weights_and_state(add, agent, rows, seeds):
    add(
        "probe",
        init=lambda theta: {"anchor": torch.zeros_like(theta), "seen": theta.new_zeros(())},
        end_task=lambda theta, state, samples: (
            3 * theta,
            {"anchor": theta + state["anchor"], "seen": state["seen"] + samples["reward"].sum()},
        ),
    )
    mine, data = agent(seeds, methods="probe"), rows(seeds, n=20)
    before = mine.state["theta"].clone()
    mine.end_task(data)
    assert torch.equal(mine.state["theta"], 3 * before)
    assert torch.equal(mine.state["probe.anchor"], before)
    assert np.allclose(mine.state["probe.seen"], data["reward"].sum(1), atol=1e-5)
    mine.end_task(data)
    assert torch.equal(mine.state["probe.anchor"], 4 * before)
    assert torch.equal(mine.state["target"], mine.state["theta"])


def test_the_target_of_weights_that_no_method_moves_stays_when_a_task_ends(add, agent, rows):
    def move_the_first(theta, state, samples):
        return torch.cat([theta[:1] + 1, theta[1:]]), state

    add("probe", end_task=move_the_first)
    mine = agent(methods="probe")
    mine.state["target"] = mine.state["target"] + 5
    target = mine.state["target"][0].clone()
    mine.end_task(rows())
    assert torch.equal(mine.state["target"][0, 1:], target[1:])
    assert mine.state["target"][0, 0] == mine.state["theta"][0, 0]


def test_an_anchor_set_when_a_task_ends_holds_the_weights_there(add, agent, rows, learn, seeds):
    add(
        "anchor",
        init=lambda theta: {"anchor": theta.clone(), "strength": theta.new_zeros(())},
        loss=lambda theta, state, batch, q: (
            0.5 * state["strength"] * (theta - state["anchor"]).square().sum()
        ),
        end_task=lambda theta, state, samples: (
            theta,
            {"anchor": theta.clone(), "strength": torch.ones_like(state["strength"])},
        ),
    )
    mine, data = agent(seeds, methods="anchor"), rows(seeds)
    start = mine.state["theta"].clone()
    _, info = learn(mine, data)
    assert (info["anchor_loss"] == 0).all()  # no strength yet, though the weights move
    assert not torch.equal(mine.state["theta"], start)
    mine.end_task(data)
    anchor = mine.state["theta"].clone()
    mine.start_task(0, reset_optimizer=True)
    learn(mine, data, weightless(data))
    assert torch.equal(mine.state["theta"], anchor)  # at the anchor the pull is zero
    mine.start_task(0, reset_optimizer=True)
    mine.state["theta"] = anchor + 0.5
    learn(mine, data, weightless(data), lr=0.1)
    assert torch.allclose(mine.state["theta"], anchor + 0.4, atol=1e-3)  # Adam's first step


def test_two_methods_act_in_the_registrys_order_each_on_its_own_state(
    add, agent, rows, learn, seeds
):
    def counting(by: float):
        return lambda theta, state, before, gradient, batch: (theta, {"n": state["n"] + by})

    def init(theta):
        return {"n": theta.new_zeros(())}

    add(
        "double",
        init=init,
        loss=lambda theta, state, batch, q: 5 * theta.sum(),
        gradient=lambda gradient, theta, state, batch: 2 * gradient,
        after_step=counting(1),
    )
    add(
        "plus",
        init=init,
        loss=lambda theta, state, batch, q: 2 * theta.sum(),
        gradient=lambda gradient, theta, state, batch: gradient + 1,
        after_step=counting(10),
    )
    for methods in ("double,plus", "plus,double"):
        mine, data = agent(seeds, methods=methods, gradient_clip=0.0), rows(seeds)
        _, info = learn(mine, data, weightless(data))
        assert torch.allclose(10 * mine.state["adam_mean"], torch.tensor(2.0 * 7 + 1))
        assert np.allclose(info["loss"], info["double_loss"] + info["plus_loss"], atol=1e-4)
        learn(mine, data)
        assert mine.state["double.n"].tolist() == [2] * len(seeds)
        assert mine.state["plus.n"].tolist() == [20] * len(seeds)


def test_a_name_that_begins_with_another_does_not_see_the_others_state():
    short, long = Method("l2"), Method("l2_init")
    state = long.put(short.put({}, {"a": 1}), {"a": 2})
    assert state == {"l2.a": 1, "l2_init.a": 2}
    assert short.own(state) == {"a": 1}
    assert long.own(state) == {"a": 2}


def test_a_method_that_fills_no_moment_is_textbook_dqn_bit_by_bit(add, agent, rows, learn, same):
    add("nothing")
    plain, mine = agent(), agent(methods="nothing")
    for step in range(20):
        data = rows((step,))
        assert same(learn(plain, data)[0], learn(mine, data)[0])
        mine.end_task(data)
    assert same(plain.state_dict(), mine.state_dict())
