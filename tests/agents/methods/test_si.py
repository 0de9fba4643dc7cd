"""SI: the path integral is the drop of the loss, and importance is that over the squared way."""

import pytest
import torch

from agents import METHODS


@pytest.fixture
def method():
    return METHODS["si"](None, strength=0.0, damping=0.5, normalize=False)


def walk(method, state, before, gradient, after):
    """The state after one step."""
    batch = {"lr": torch.tensor(0.1)}
    return method.after_step(torch.tensor(after), state, before, torch.tensor(gradient), batch)[1]


def test_path_and_importance_by_hand(method):
    start = torch.tensor([0.0, 0.0])
    state = walk(method, method.init(start), start, [1.0, -2.0], [-1.0, -3.0])
    assert state["path"].tolist() == [1, -6]
    state = walk(method, state, torch.tensor([-1.0, -3.0]), [2.0, 1.0], [-2.0, -4.0])
    assert state["path"].tolist() == [3, -5]
    _, state = method.end_task(torch.tensor([-2.0, -4.0]), state, {})
    # 3 / (4 + 0.5); a way that raised the loss counts nothing.
    assert state["importance"].tolist() == pytest.approx([3 / 4.5, 0])
    assert state["anchor"].tolist() == [-2, -4]
    assert state["path"].tolist() == [0, 0]


def test_the_path_adds_up_to_the_drop_of_the_loss_on_a_quadratic(method):
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(5, 5, generator=generator)
    hessian, theta = root @ root.T, torch.randn(5, generator=generator)
    state, first = method.init(theta), theta
    for _ in range(2_000):
        gradient, before = hessian @ theta, theta
        theta = before - 1e-4 * gradient
        state = method.after_step(theta, state, before, gradient, {"lr": torch.tensor(0.1)})[1]
    drop = 0.5 * (first @ hessian @ first - theta @ hessian @ theta)
    assert drop > 0.1
    assert state["path"].sum().item() == pytest.approx(drop.item(), rel=2e-3)


def test_it_sees_the_whole_step_but_the_datas_gradient_alone(agent, rows, learn):
    mine = agent(methods="l2_init:strength=50,si", gradient_clip=0.0)
    mine.state["theta"] += 0.1  # so that l2_init pulls
    data, before = rows(), mine.state["theta"].clone()
    learn(mine, data)
    gradient = mine.state["adam_mean"] / 0.1
    expected = -gradient * (mine.state["theta"] - before)
    assert torch.allclose(mine.state["si.path"], expected, atol=1e-7)


def test_damping_must_be_positive(agent):
    with pytest.raises(ValueError, match="si:damping must be positive"):
        agent(methods="si:damping=0")
