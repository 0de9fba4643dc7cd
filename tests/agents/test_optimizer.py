"""Adam and clipping on a vector, against PyTorch's own."""

import pytest
import torch

from agents.optimizer import adam, adam_init, clip_norm


@pytest.mark.parametrize("epsilon", [1e-8, 1e-2])
def test_twenty_steps_equal_those_of_torchs_adam(epsilon):
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(50, generator=generator)
    reference = torch.nn.Parameter(theta.clone())
    optimizer = torch.optim.Adam([reference], eps=epsilon)
    moments = adam_init(theta)
    for step in range(20):
        gradient = torch.randn(50, generator=generator) * 10.0 ** (step % 5 - 2)
        lr = 1e-2 / (step + 1)
        change, moments = adam(gradient, moments, torch.tensor(lr), epsilon)
        theta = theta + change
        reference.grad = gradient
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
        assert torch.allclose(theta, reference, rtol=0, atol=1e-6)
    assert float(moments["adam_steps"]) == 20


def test_the_first_step_has_the_size_of_the_learning_rate():
    theta = torch.tensor([1.0, -2.0])
    change, _ = adam(torch.tensor([0.5, -400.0]), adam_init(theta), torch.tensor(0.1), 0.0)
    assert torch.allclose(change, torch.tensor([-0.1, 0.1]), atol=1e-5)


@pytest.mark.parametrize("limit", [0.5, 5.0, 5.1, 100.0])
def test_clipping_equals_clip_grad_norm(limit):
    gradient = torch.tensor([3.0, 4.0, 0.0])
    reference = torch.nn.Parameter(torch.zeros(3))
    reference.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_([reference], limit)
    assert torch.allclose(clip_norm(gradient, limit), reference.grad, rtol=1e-6)


def test_a_limit_of_zero_leaves_the_gradient_alone():
    gradient = torch.tensor([3e6, 4e6])
    assert clip_norm(gradient, 0) is gradient
