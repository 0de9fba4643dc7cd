"""Numbers shared by the methods that hold on to stored Q values.

A label is an entry of `batch["q"]`: the Q value that the network gave when the row's task ended.
NaN is no label: the row's task has not ended yet, or does not have the action. Everything here is
zero, with a gradient of zero, where there is no label.
"""

from dataclasses import replace

import torch
from torch import Tensor

from agents.losses import action_gap, mask_invalid, mean_where, task_mask
from agents.methods.method import Method, State
from agents.model import Batch, Model

LEAST_GAP = 0.05  # of the distance between best and worst action: some actions are equally good


def known(batch: Batch) -> Tensor:
    """Which Q values are labelled, bool [n, actions]."""
    return ~batch["q"].isnan()


def labelled(batch: Batch) -> Tensor:
    """Which rows have a label, bool [n]."""
    return known(batch).any(-1)


def squared_distance(q: Tensor, batch: Batch) -> Tensor:
    """Mean squared distance of Q values to their labels, over all that have one."""
    return mean_where((q - batch["q"].nan_to_num()).square(), known(batch))


def log_policy(q: Tensor, valid: Tensor, temperature: Tensor) -> Tensor:
    """Logarithms of softmax(q / temperature) over the valid actions, [n, actions]; others -inf.

    Args:
        q: [n, actions].
        valid: At least one action of each row, bool [n, actions].
        temperature: Positive, [n].
    """
    return mask_invalid(q / temperature[:, None], valid).log_softmax(-1)


def divergence(q: Tensor, batch: Batch, temperature: Tensor) -> Tensor:
    """KL(softmax(label / temperature) || softmax(q / temperature)) of each row, [n].

    It is 0 for rows without a label or with a temperature of 0.
    """
    counts, valid = _counted(batch, temperature), _open(batch)
    temperature = torch.where(counts, temperature, 1.0)
    old = log_policy(batch["q"].nan_to_num(), valid, temperature)
    difference = (old - log_policy(q, valid, temperature)).masked_fill(~valid, 0.0)
    return torch.where(counts, (old.exp() * difference).sum(-1), 0.0)


def best_distance(q: Tensor, batch: Batch) -> Tensor:
    """How far the best Q value is above the best label, [n]; 0 for rows without a label."""
    valid = _open(batch)
    best, label = (mask_invalid(x, valid).amax(-1) for x in (q, batch["q"].nan_to_num()))
    return torch.where(labelled(batch), best - label, 0.0)


def typical_gap(q: Tensor, valid: Tensor) -> Tensor:
    """How much worse than the best action the second best one is: a task's scale of preferences.

    The mean over rows, and at least `LEAST_GAP` of what separates best and worst: where two actions
    are always equally good, the gap between them is noise. 0 where there is one action.

    Args:
        q: Of states of one task, [n, actions].
        valid: Which actions the task has, bool [n, actions].
    """
    spread = mask_invalid(q, valid).amax(-1) - q.masked_fill(~valid, torch.inf).amin(-1)
    return torch.maximum(action_gap(mask_invalid(q, valid)).mean(), LEAST_GAP * spread.mean())


def no_gaps(model: Model, theta: Tensor) -> State:
    """The state that `note_gap` fills: no task has ended."""
    return {"gap": theta.new_zeros(model.num_tasks)}


def note_gap(model: Model, theta: Tensor, state: State, samples: Batch) -> State:
    """The state with the typical gap of the task that ends."""
    gap = typical_gap(model.q(theta, samples), samples["valid"])
    here = task_mask(samples["task"][0], model.num_tasks)
    return state | {"gap": torch.where(here, gap, state["gap"])}


def with_gaps(method: Method, model: Model) -> Method:
    """The method with the typical gaps of ended tasks in its state, as `temperatures` wants."""

    def end_task(theta: Tensor, state: State, samples: Batch) -> tuple[Tensor, State]:
        return theta, note_gap(model, theta, state, samples)

    return replace(method, init=lambda theta: no_gaps(model, theta), end_task=end_task)


def temperatures(model: Model, state: State, batch: Batch, factor: float) -> Tensor:
    """Each row's temperature, [n]: `factor` times the gap of its task; 0 for no ended task.

    Where task identity is hidden, all rows have one temperature, from the mean of the gaps.
    """
    gap = state["gap"]
    if not model.task_known:
        gap = mean_where(gap, gap > 0).expand_as(gap)
    return factor * gap[batch["task"]]


def _counted(batch: Batch, temperature: Tensor) -> Tensor:
    return labelled(batch) & (temperature > 0)


def _open(batch: Batch) -> Tensor:
    """The labelled actions; all of a row that has none, so that its softmax is a number."""
    there = known(batch)
    return there | ~there.any(-1, keepdim=True)
