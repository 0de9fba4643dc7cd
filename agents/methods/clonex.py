"""Cloning each task: rows of earlier tasks only keep their tasks' policies, each task alike.

Source: ClonEx-SAC (Wolczyk et al. 2022, arXiv 2209.13900): the agent learns from the running
task's rows only, and clones stored policies by KL(old policy || policy) on stored states.
Deviations: the policy is softmax(Q / temperature), with the temperature of `clear`; a batch's mean
is taken per task and then over its tasks, so that a task of which the memory keeps few rows is not
outvoted. The paper's exploration by the best old head is not part of it.
"""

import torch
from torch import Tensor

from agents.losses import mean_where, task_mask
from agents.methods import labels
from agents.methods.method import Method, State, check_positive
from agents.model import Batch, Model


def clonex(model: Model, *, strength: float = 1.0, temperature: float = 1.0) -> Method:
    """`strength` times the mean over tasks of their mean KL(old policy || policy).

    At strength 0 the rows of earlier tasks have no other use: they stay in the TD loss.

    Raises:
        ValueError: A temperature of 0, at which there is no policy to clone.
    """
    check_positive("clonex", temperature=temperature)

    def loss(theta: Tensor, state: State, batch: Batch, q: Tensor) -> Tensor:
        tau = labels.temperatures(model, state, batch, temperature)
        divergence = labels.divergence(q, batch, tau)
        return strength * mean_of_tasks(divergence, batch["task"], labels.labelled(batch), model)

    method = Method(
        "clonex",
        loss=loss,
        needs_q=True,
        needs_tasks=True,
        needs_old=True,
        reserves_old=strength > 0,
    )
    return labels.with_gaps(method, model)


def mean_of_tasks(values: Tensor, task: Tensor, where: Tensor, model: Model) -> Tensor:
    """Mean over the tasks present of each one's mean over the rows that are meant.

    Args:
        values: [n].
        task: [n].
        where: Which rows are meant, bool [n].
        model: Says how many tasks there are.
    """
    rows = (task_mask(task, model.num_tasks) & where).to(values.dtype)  # [tasks, n]
    count = rows.sum(1)
    means = rows @ torch.where(where, values, 0.0) / count.clamp(min=1)
    return mean_where(means, count > 0)
