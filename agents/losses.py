"""Small pure functions of tensors."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def huber(error: Tensor, delta: float) -> Tensor:
    """Half the square within `delta`, linear beyond it; all square where `delta` is 0."""
    if delta == 0:
        return 0.5 * error.square()
    return F.huber_loss(error, torch.zeros_like(error), reduction="none", delta=delta)


def mask_invalid(q: Tensor, valid: Tensor) -> Tensor:
    """Q values with actions that the task does not have at minus infinity."""
    return q.masked_fill(~valid, -torch.inf)


def action_gap(q: Tensor) -> Tensor:
    """How much better the best action is than the second best one, [batch]; 0 with one action.

    Args:
        q: [batch, actions]; minus infinity for actions that the task does not have.
    """
    if q.shape[-1] < 2:
        return torch.zeros_like(q[..., 0])
    others = q.scatter(-1, q.argmax(-1, keepdim=True), -torch.inf)
    return torch.nan_to_num(q.amax(-1) - others.amax(-1), posinf=0.0)


def mean_where(values: Tensor, where: Tensor) -> Tensor:
    """Mean of the values that are meant; 0 where none is."""
    return torch.where(where, values, 0.0).sum() / where.sum().clamp(min=1)


def task_mask(task: Tensor, num_tasks: int) -> Tensor:
    """For each task by index, where `task` is that one, bool [tasks, *task.shape]."""
    each = torch.arange(num_tasks, device=task.device)
    return each.view(-1, *[1] * task.dim()) == task


def gradient_of(
    function: Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]], theta: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The gradient of a function's first result, and its second one, without their history."""
    theta = theta.detach().requires_grad_()
    with torch.enable_grad():
        value, info = function(theta)
        (gradient,) = torch.autograd.grad(value, theta)
    return gradient, {name: tensor.detach() for name, tensor in info.items()}
