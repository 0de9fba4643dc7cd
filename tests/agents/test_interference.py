"""What is said of interference can be worked out by hand, and becomes true as steps get small."""

import numpy as np
import pytest
import torch
from torch import nn

from agents import NETWORKS


class TwoLinear(nn.Module):
    """Q values that are linear in the first two numbers seen and, in another layer, the third."""

    def __init__(self, spec):
        super().__init__()
        self.low = nn.Linear(2, spec.num_actions, bias=False)
        self.high = nn.Linear(1, spec.num_actions, bias=False)

    def forward(self, obs, task):
        return self.low(obs[:, :2]) + self.high(obs[:, 2:])


# A row of each task, which ends the episode: Q(s, 0) should be 1 and -1. At weights of zero the
# gradients of half the squared errors are -(1, 0, 2) and (1, 1, 1).
TWO_ROWS = {
    "state": np.float32([[[1, 0, 2], [1, 1, 1]]]),
    "next_state": np.zeros((1, 2, 3), np.float32),
    "action": np.int64([[0, 0]]),
    "reward": np.float32([[1, -1]]),
    "discount": np.float32([[0.9, 0.9]]),
    "done": np.array([[True, True]]),
    "task": np.int32([[0, 1]]),
}


@pytest.fixture
def linear(agent, monkeypatch):
    """A linear agent with weights of zero."""
    monkeypatch.setitem(NETWORKS, "linear", TwoLinear)
    mine = agent(network="linear", huber_delta=0.0)
    mine.state["theta"] = torch.zeros_like(mine.state["theta"])
    return mine


@pytest.fixture
def both(rows):
    """Rows of both tasks, one task after the other, [members, 2 * n]."""

    def make(seeds=(0,), n: int = 16):
        parts = [rows([10 * seed + task for seed in seeds], n=n, task=task) for task in (0, 1)]
        return {name: np.concatenate([part[name] for part in parts], 1) for name in parts[0]}

    return make


def test_cosines_by_hand_of_each_layer_and_of_all(linear):
    found = linear.outlook(TWO_ROWS, 2).cosines()
    assert list(found) == ["low", "high", "all"]
    assert all(cosine.shape == (1, 1) for cosine in found.values())
    assert float(found["low"]) == pytest.approx(-(0.5**0.5))
    assert float(found["high"]) == pytest.approx(-1)
    assert float(found["all"]) == pytest.approx(-3 / 15**0.5)


def test_changes_by_hand_differ_by_the_curvature(linear):
    seen = linear.outlook(TWO_ROWS, 2)
    assert seen.losses.tolist() == [[0.5, 0.5]]
    step = torch.zeros_like(linear.state["theta"])
    step[0, 0] = step[0, 6] = 0.1  # of action 0: what is seen first, and third
    predicted, measured = seen.changes(step)
    assert predicted.tolist() == [pytest.approx([-0.3, 0.2])]
    # Half the squared errors, now 1 - 0.3 and -1 - 0.2, less 0.5 each.
    assert measured.tolist() == [pytest.approx([0.245 - 0.5, 0.72 - 0.5])]


@pytest.mark.parametrize("distribution", ["expectation", "quantiles", "categories"])
def test_the_prediction_comes_true_as_the_step_gets_small(agent, both, distribution):
    mine = agent((0, 1), distribution=distribution)
    seen = mine.outlook(both((0, 1)), 2)
    generator = torch.Generator().manual_seed(0)
    way = torch.randn(mine.state["theta"].shape, generator=generator)
    errors = []
    for size in (1e-1, 1e-4):  # the second crosses no kink of ReLU
        predicted, measured = seen.changes(mine.state["theta"] + size * way)
        errors.append((measured - predicted).abs() / size)
    assert (errors[0] > 1e-2).all()
    assert (errors[1] < 0.1 * errors[0]).all()


def test_losses_and_gradients_are_those_of_learning_each_tasks_rows(agent, both, rows, learn):
    seen = agent().outlook(both(), 2)
    for task in (0, 1):
        alone = agent(gradient_clip=0.0)
        _, info = learn(alone, rows((task,), n=16, task=task))
        assert float(seen.losses[0, task]) == pytest.approx(float(info["td_loss"][0]), rel=1e-5)
        expected = 10 * alone.state["adam_mean"][0]
        assert torch.allclose(seen.gradients[0, task], expected, atol=1e-6)


def test_members_see_the_same_alone_and_among_others(agent, both):
    together, alone = agent((4, 7, 1)), agent((7,))
    seen, own = together.outlook(both((4, 7, 1)), 2), alone.outlook(both((7,)), 2)
    assert torch.allclose(seen.gradients[1], own.gradients[0], atol=1e-6)
    for name, cosine in own.cosines().items():
        assert torch.allclose(seen.cosines()[name][1], cosine[0], atol=1e-5)
    changes = (part[1] for part in seen.changes(0.9 * together.state["theta"]))
    for mine, other in zip(own.changes(0.9 * alone.state["theta"]), changes, strict=True):
        assert torch.allclose(mine[0], other, atol=1e-6)


def test_a_look_draws_and_changes_nothing(agent, both, same):
    mine = agent((0, 1), noisy=True, head="per_task", dueling=True)
    before = mine.state_dict()
    mine.outlook(both((0, 1)), 2).changes(mine.state["theta"] + 1)
    assert same(mine.state_dict(), before)


def test_a_layer_without_a_gradient_is_in_no_conflict(linear):
    rows = TWO_ROWS | {"state": TWO_ROWS["state"] * np.float32([1, 1, 0])}
    found = linear.outlook(rows, 2).cosines()
    assert float(found["high"]) == 0
    assert float(found["all"]) == pytest.approx(float(found["low"]))
