"""SI: weights whose way lowered the loss stay where earlier tasks left them.

Source: Zenke et al. 2017 (arXiv 1703.04200, equations 3 to 5): each weight's part in the drop of
the loss, summed over the steps of a task, path <- path - gradient * step, over its squared way;
their c = strength / 2.
The step is the measured one, after Adam and every pull of methods named before, and the gradient
is that of the data alone, before clipping. Deviations: each task's importance is divided by its
mean over the weights that have any (`normalize=false`: as it is); the loss is a bootstrapped one,
whose targets move, so that the sum is the drop of no fixed function. Beside `ogd:project=step`,
which acts afterwards, the measured step still has the part that OGD takes back.
"""

import torch
from torch import Tensor

from agents.methods.method import Method, State, check_positive
from agents.methods.quadratic import Step, nothing_important, quadratic, unit_mean
from agents.model import Batch, Model


def si(
    model: Model,
    *,
    strength: float = 10.0,
    step: Step = "implicit",
    damping: float = 1e-3,
    normalize: bool = True,
) -> Method:
    """Half of `strength` times the squared distance to earlier weights, weighted by their path.

    Args:
        model: The network.
        strength: Of the pull.
        step: See `agents.methods.quadratic`.
        damping: Added to a weight's squared way, so that one that hardly moved does not count most.
        normalize: Whether each task's importance is made to have the mean 1.

    Raises:
        ValueError: A damping of 0, which divides by the way of weights that did not move.
    """
    check_positive("si", damping=damping)

    def init(theta: Tensor) -> State:
        return nothing_important(theta) | {"path": torch.zeros_like(theta)}

    def observe(
        theta: Tensor, state: State, before: Tensor, gradient: Tensor, batch: Batch
    ) -> State:
        return state | {"path": state["path"] - gradient * (theta - before)}

    def end_task(theta: Tensor, state: State, samples: Batch) -> tuple[Tensor, State]:
        # The anchor is where the task began.
        way = (theta - state["anchor"]).square() + damping
        importance = state["path"].clamp(min=0) / way
        importance = unit_mean(importance) if normalize else importance
        total = state["importance"] + importance
        path = torch.zeros_like(theta)
        return theta, {"importance": total, "anchor": theta.clone(), "path": path}

    return quadratic("si", strength, step, init=init, observe=observe, end_task=end_task)
