"""PCGrad: each task's gradient gives up its part against every other's, and all are added up.

Source: Yu et al. 2020 (arXiv 2001.06782), algorithm 1.
Deviations: a task meets the others in one circle (the running task, then the old ones by index),
beginning after itself, where the paper draws the order anew: no task is always the first or the
last, nothing random is needed, and with two tasks there is no difference. A task without rows in
the batch has no part. Losses that other methods add count as the running task's.
"""

import torch
from torch import Tensor

from agents.methods.method import Batch, Method, Ruled, State
from agents.methods.references import task_gradients
from agents.model import Model


def pcgrad(model: Model) -> Method:
    """The sum of the tasks' gradients after surgery; the running task's is the data's."""

    def gradient(gradient: Tensor, theta: Tensor, state: State, batch: Batch) -> Ruled:
        tasks = torch.cat([gradient[None], task_gradients(model, theta, batch)])
        after = surgery(tasks)
        return torch.where(batch["old"].any(), after.sum(0), gradient), after != tasks

    return Method("pcgrad", gradient=gradient, needs_tasks=True, needs_old=True, reserves_old=True)


def surgery(tasks: Tensor) -> Tensor:
    """Each task's gradient without its parts against the others', [tasks, parameters]."""
    squares = tasks.square().sum(1).clamp(min=torch.finfo(tasks.dtype).tiny)
    projected = tasks
    for shift in range(1, len(tasks)):
        others = tasks.roll(-shift, 0)
        against = (projected * others).sum(1).clamp(max=0) / squares.roll(-shift)
        projected = projected - against[:, None] * others
    return projected
