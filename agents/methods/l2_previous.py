"""L2 to the weights at the last switch: EWC with every weight equally important.

Source: the method L2 of Continual World (Wolczyk et al. 2021, arXiv 2105.10919, section 5), after
Kirkpatrick et al. 2017 (arXiv 1612.00796), who compare with it.
"""

import torch
from torch import Tensor

from agents.methods.method import Method, State
from agents.methods.quadratic import Step, nothing_important, quadratic
from agents.model import Batch, Model


def l2_previous(model: Model, *, strength: float = 1.0, step: Step = "implicit") -> Method:
    """Half of `strength` times the squared distance to where the last task left the weights."""

    def end_task(theta: Tensor, state: State, samples: Batch) -> tuple[Tensor, State]:
        return theta, {"importance": torch.ones_like(theta), "anchor": theta.clone()}

    return quadratic("l2_previous", strength, step, init=nothing_important, end_task=end_task)
