"""CLEAR clones policy and value on old rows, at the temperature of each task's preferences."""

from math import e, log

import numpy as np
import pytest
import torch

from agents import METHODS
from agents.methods import labels


@pytest.fixture
def ended(agent, rows):
    """An agent whose tasks have both ended."""

    def make(methods: str, **changed):
        mine = agent(methods=methods, **changed)
        for task in (0, 1):
            mine.end_task(rows((50 + task,), n=32, task=task))
        return mine

    return make


def test_the_loss_is_both_terms_over_the_labelled_rows(ended, rows, prepared, call):
    mine = ended("clear:policy=3,value=2,temperature=0.5")
    batch, model = prepared(mine, rows(n=16)), mine.learner.model
    q, there = model.q(mine.state["theta"][0], batch), ~batch["q"].isnan()
    total, count = 0.0, 0
    for row in range(16):
        if there[row].any():
            mask = there[row]
            tau = 0.5 * mine.state["clear.gap"][0, batch["task"][row]]
            old, new = ((x[row][mask] / tau).softmax(0) for x in (batch["q"], q))
            total += 3 * (old * (old / new).log()).sum()
            total += 2 * (q[row][mask].max() - batch["q"][row][mask].max()) ** 2
            count += 1
    assert 0 < count < 16
    assert float(call(mine, mine.methods[0], batch)) == pytest.approx(float(total) / count, 1e-4)


def test_nothing_is_lost_where_the_network_says_what_is_stored(
    ended, rows, labelled, prepared, call
):
    mine = ended("clear:policy=1,value=1")
    batch = prepared(mine, labelled(mine, rows(n=16)))
    theta = mine.state["theta"][0].clone().requires_grad_()
    loss = call(mine, mine.methods[0], batch, theta)
    (gradient,) = torch.autograd.grad(loss, theta)
    assert abs(loss.item()) < 1e-6
    assert gradient.abs().max() < 1e-5


@pytest.mark.parametrize("factor", [0.01, 100.0])
def test_the_policy_term_does_not_see_the_scale_of_q_values(
    factor, ended, agent, rows, prepared, call
):
    """The last layer alone scales a network without hidden biases in between."""
    data, found = rows(n=16), []
    for scale in (1.0, factor):
        mine = agent(methods="clear:policy=1,value=0")
        places = mine.learner.model.parameters()
        for name in ("advantage.weight", "advantage.bias"):
            mine.state["theta"][:, places[name][0]] *= scale
        for task in (0, 1):
            mine.end_task(rows((50 + task,), n=32, task=task))
        scaled = data | {"q": np.float32(scale) * data["q"]}
        found.append(float(call(mine, mine.methods[0], prepared(mine, scaled))))
    assert found[0] > 0.01
    assert found[1] == pytest.approx(found[0], rel=1e-3)


def test_no_gradient_reaches_it_from_actions_that_the_task_lacks(ended, rows, prepared):
    mine = ended("clear:policy=1,value=1")
    batch = prepared(mine, rows(n=16, task=0))
    q = torch.randn(16, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    state = mine.methods[0].own({name: tensor[0] for name, tensor in mine.state.items()})
    mine.methods[0].loss(mine.state["theta"][0], state, batch, q).backward()
    rows_there = labels.labelled(batch)
    assert rows_there.any()
    assert (q.grad[:, 2] == 0).all()
    assert (q.grad[~rows_there] == 0).all()
    assert (q.grad[rows_there][:, :2] != 0).any()


@pytest.mark.parametrize("case", ["strength 0", "nothing stored"])
def test_without_strength_or_labels_it_is_textbook_dqn_bit_by_bit(case, ended, agent, rows, learn):
    options = "policy=0,value=0" if case == "strength 0" else "policy=1,value=1"
    plain, mine = agent(), ended(f"clear:{options}")
    for step in range(20):
        data = rows((step,))
        if case == "nothing stored":
            data["q"][:] = np.nan
        learn(plain, data)
        learn(mine, data)
    assert plain.state["theta"].numpy().tobytes() == mine.state["theta"].numpy().tobytes()


def test_it_works_where_the_task_is_hidden(ended, rows, learn):
    mine = ended("clear:policy=1,value=0", task_identity="hidden")
    _, info = learn(mine, rows(n=16))
    assert info["clear_loss"] > 0


def test_it_brings_the_policy_back(ended, rows, learn, labelled):
    mine, data = ended("clear:policy=1,value=0"), rows(n=32, task=1)
    data = labelled(mine, data)
    mine.state["theta"] += 0.1 * torch.randn(
        mine.state["theta"].shape, generator=torch.Generator().manual_seed(0)
    )
    silent = np.zeros((1, 32), np.float32)
    _, before = learn(mine, data, silent, lr=0.0)
    for _ in range(40):
        _, after = learn(mine, data, silent, lr=1e-2)
    assert after["clear_loss"] < 0.1 * before["clear_loss"]


def test_by_hand(linear, theta, two_rows):
    # Half of the task's gap 2 is a temperature of 1. The policy was 3 to 1, and is 1 to e.
    stored = torch.tensor([[log(3), 0], [torch.nan] * 2])
    batch, state = two_rows(1) | {"q": stored}, {"gap": torch.tensor([5.0, 2])}
    method = METHODS["clear"](linear, policy=3.0, value=2.0, temperature=0.5)
    found = method.loss(theta, state, batch, linear.q(theta, batch))
    divergence = 0.75 * log(0.75 * (1 + e)) + 0.25 * log(0.25 * (1 + e) / e)
    assert float(found) == pytest.approx(3 * divergence + 2 * (2 - log(3)) ** 2)
