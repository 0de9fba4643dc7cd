"""Gradients of the TD loss on rows of earlier tasks: what gradient rules compare with."""

import torch
from torch import Tensor

from agents.model import Batch, Model
from agents.row_gradients import weighted_gradients


def old_gradient(model: Model, theta: Tensor, batch: Batch) -> Tensor:
    """Gradient of the mean TD loss of all old rows, [parameters]; zero where there are none."""
    return _gradients(model, theta, batch, batch["old"][None])[0]


def task_gradients(model: Model, theta: Tensor, batch: Batch) -> Tensor:
    """Gradient of the mean TD loss of each other task's rows, [tasks - 1, parameters].

    The current task is left out, the others go by index. Zero for a task that has no rows in the
    batch, and where there is no other task, of one that does not exist.
    """
    other = torch.arange(max(model.num_tasks - 1, 1), device=theta.device)
    other = other + (other >= batch["current_task"][0])
    return _gradients(model, theta, batch, batch["task"] == other[:, None])


def _gradients(model: Model, theta: Tensor, batch: Batch, chosen: Tensor) -> Tensor:
    """For each choice of rows, [choices, n]: gradient of their mean, as the learner weighs them."""
    weights = chosen * batch["weight"] / chosen.sum(1, keepdim=True).clamp(min=1)
    return weighted_gradients(model.network, lambda at: model.td_loss(at, batch), theta, weights)
