"""DER++ weighs the two things that old rows teach: their Q values, and their rewards."""

import numpy as np
import pytest
import torch

from agents import METHODS


@pytest.fixture
def half_old(agent, rows):
    """As many rows of the ended task 0, some of them labelled, as of the running task 1."""

    def make(methods: str):
        mine = agent(methods=methods, gradient_clip=0.0)
        mine.start_task(1, reset_optimizer=False)
        old, new = rows((1,), n=8, task=0), rows((2,), n=8, task=1)
        new["q"][:] = np.nan
        return mine, {name: np.concatenate([old[name], new[name]], axis=1) for name in old}

    return make


def test_its_loss_is_the_distance_plus_beta_times_the_mean_td_loss_of_old_rows(
    half_old, prepared, call
):
    mine, data = half_old("derpp:strength=2,beta=0.25")
    batch, model, theta = prepared(mine, data), mine.learner.model, mine.state["theta"][0]
    distance = (model.q(theta, batch) - batch["q"])[:8].square().nanmean()
    expected = 2 * distance + 0.25 * model.td_loss(theta, batch)[:8].mean()
    assert float(call(mine, mine.methods[0], batch)) == pytest.approx(float(expected), rel=1e-5)


def test_rows_weigh_in_it_what_the_memory_says(half_old, prepared, call):
    mine, data = half_old("derpp:strength=1e-30,beta=1")
    batch = prepared(mine, data)
    batch["weight"] = torch.arange(16.0)
    per_row = mine.learner.model.td_loss(mine.state["theta"][0], batch)
    expected = (per_row * batch["weight"])[:8].sum() / 8
    assert torch.allclose(call(mine, mine.methods[0], batch), expected)


def test_with_beta_one_and_half_of_the_rows_old_it_is_twice_distillation(half_old, learn):
    (mine, data), (other, _) = half_old("derpp:strength=10,beta=1"), half_old("distill:strength=5")
    _, info = learn(mine, data)
    _, expected = learn(other, data)
    assert np.allclose(info["loss"], 2 * expected["loss"], rtol=1e-5)
    twice = 2 * other.state["adam_mean"]
    assert torch.allclose(mine.state["adam_mean"], twice, rtol=1e-4, atol=1e-6)


def test_without_beta_it_is_der(half_old, learn):
    (mine, data), (other, _) = half_old("derpp:strength=3,beta=0"), half_old("der:strength=3")
    learn(mine, data)
    learn(other, data)
    assert torch.allclose(mine.state["theta"], other.state["theta"], atol=1e-7)


def test_by_hand(linear, theta, two_rows):
    # Distances 0 and 1; halves of squared TD errors 3 and 1, weighed 1 and 3.
    stored, weight = torch.tensor([[1.0, 3], [torch.nan] * 2]), torch.tensor([1.0, 3])
    batch = two_rows(1) | {"q": stored, "weight": weight, "old": torch.tensor([True, True])}
    method = METHODS["derpp"](linear, strength=2.0, beta=0.25)
    found = method.loss(theta, {}, batch, linear.q(theta, batch))
    assert float(found) == 2 * (0 + 1) / 2 + 0.25 * (1 * 4.5 + 3 * 0.5) / 2
