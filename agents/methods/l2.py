"""L2: weight decay, a pull of every weight to zero (Krogh and Hertz 1991).

`step=implicit` is decoupled from Adam (Loshchilov and Hutter 2019, arXiv 1711.05101), with 1 / (1 +
lr strength) in place of 1 - lr strength. Heads of tasks that are not being learned shrink too.
"""

import torch
from torch import Tensor

from agents.methods.method import Method, State
from agents.methods.quadratic import Step, quadratic
from agents.model import Model


def l2(model: Model, *, strength: float = 1e-3, step: Step = "implicit") -> Method:
    """Half of `strength` times the squared length of the weights."""

    def pull(theta: Tensor, state: State) -> tuple[Tensor, Tensor]:
        return torch.ones_like(theta[0]), torch.zeros_like(theta)

    return quadratic("l2", strength, step, pull=pull)
