"""PCGrad: each task's gradient gives up its part against every other's, and all are added up.

Source: Yu et al. 2020 (arXiv 2001.06782), algorithm 1.
Deviations: a task meets the others in one circle (the running task, then the old ones by index),
beginning after itself, where the paper draws the order anew: no task is always the first or the
last, nothing random is needed, and with two tasks there is no difference. A task without rows in
the batch has no part. Losses that other methods add count as the running task's.
"""

import torch
from torch import Tensor

from agents.methods.method import Method, Ruled, State
from agents.methods.references import task_gradients
from agents.model import Batch, Model


def pcgrad(model: Model) -> Method:
    """The sum of the tasks' gradients after surgery; the running task's is the data's."""

    def gradient(gradient: Tensor, theta: Tensor, state: State, batch: Batch) -> Ruled:
        tasks = torch.cat([gradient[None], task_gradients(model, theta, batch)])
        shares = surgery(tasks @ tasks.T)
        ruled = torch.where(batch["old"].any(), shares.sum(0) @ tasks, gradient)
        return ruled, shares != torch.eye(len(tasks), device=theta.device)

    return Method("pcgrad", gradient=gradient, needs_tasks=True, needs_old=True, reserves_old=True)


def surgery(products: Tensor) -> Tensor:
    """What each task's gradient is made of after it lost its parts against the others'.

    What is left of a gradient is a sum of all of them, so that their dot products are all it takes.

    Args:
        products: Dot products of the tasks' gradients, [tasks, tasks].

    Returns:
        Shares: the gradients after surgery are `shares @ gradients`, [tasks, tasks].
    """
    squares = products.diagonal().clamp(min=torch.finfo(products.dtype).tiny)
    own = torch.eye(len(products), dtype=products.dtype, device=products.device)
    shares = own
    for shift in range(1, len(products)):
        others = products.roll(-shift, 0)
        against = (shares * others).sum(1).clamp(max=0) / squares.roll(-shift)
        shares = shares - against[:, None] * own.roll(-shift, 0)
    return shares
