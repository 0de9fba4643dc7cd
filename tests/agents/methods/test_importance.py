"""What is measured per row does not depend on how the rows come."""

import pytest
import torch

from agents.methods import importance
from agents.methods.ewc import fisher_of
from agents.methods.mas import sensitivity

MEASURES = {
    "output": lambda model, theta, batch: fisher_of(model, theta, batch, "output"),
    "policy": lambda model, theta, batch: fisher_of(model, theta, batch, "policy"),
    "td": lambda model, theta, batch: fisher_of(model, theta, batch, "td"),
    "mas": sensitivity,
}


@pytest.fixture(params=MEASURES)
def measure(request):
    return MEASURES[request.param]


def rows_of(batch, index):
    """Some rows of a prepared batch."""
    shared = ("noise", "target")
    return {name: c if name in shared else c[index] for name, c in batch.items()}


@pytest.mark.parametrize("rows_at_once", [1, 5])
def test_chunks_and_order_change_nothing(measure, rows_at_once, agent, rows, prepared, monkeypatch):
    mine = agent(head="per_task")
    model = mine.learner.model
    theta, batch = mine.state["theta"][0], prepared(mine, rows(n=12, task=1))
    whole = measure(model, theta, batch)
    numbers = rows_at_once * 3 * len(theta)
    monkeypatch.setattr(importance.mean_over_rows, "__defaults__", (numbers,))
    monkeypatch.setattr(importance.mean_squared_td_gradient, "__defaults__", (numbers // 3,))
    mixed = rows_of(batch, torch.randperm(12, generator=torch.Generator().manual_seed(0)))
    assert whole.max() > 0
    assert torch.allclose(measure(model, theta, mixed), whole, rtol=1e-5, atol=1e-8)


def test_it_is_a_mean_over_rows_not_over_batches(measure, agent, rows, prepared):
    mine = agent(head="per_task")
    model = mine.learner.model
    theta, batch = mine.state["theta"][0], prepared(mine, rows(n=8, task=1))
    # The policy's temperature is of all rows: rows that come twice leave it as it is.
    twice = rows_of(batch, torch.arange(8).repeat(2))
    whole = measure(model, theta, batch)
    assert torch.allclose(measure(model, theta, twice), whole, rtol=1e-5, atol=1e-8)


def test_other_tasks_heads_and_actions_that_are_not_there_count_nothing(
    measure, agent, rows, prepared
):
    mine = agent(head="per_task")
    model = mine.learner.model
    theta, batch = (
        mine.state["theta"][0],
        prepared(mine, rows(n=12, task=0)),
    )  # has actions 0 and 1 of 3
    where, shape = model.parameters()["advantage.weight"]
    heads = measure(model, theta, batch)[where].view(2, 3, shape[1])
    assert (heads[0, :2].sum(-1) > 0).all()
    assert (heads[0, 2] == 0).all()
    assert (heads[1] == 0).all()


@pytest.mark.parametrize(
    "changed",
    [
        {"network": "cnn", "shape": (2, 5, 5)},
        {"layer_norm": True, "dueling": True, "noisy": True},
        {"distribution": "quantiles"},
        {"distribution": "categories"},
    ],
    ids=["cnn", "noisy", "quantiles", "categories"],
)
def test_every_network_can_be_measured(measure, changed, agent, rows, prepared):
    mine = agent(**changed)
    theta, batch = (
        mine.state["theta"][0],
        prepared(mine, rows(n=3, shape=changed.get("shape", (3,)), task=1)),
    )
    found = measure(mine.learner.model, theta, batch)
    assert found.shape == theta.shape
    assert (found >= 0).all()
    assert 0 < found.sum() < torch.inf
