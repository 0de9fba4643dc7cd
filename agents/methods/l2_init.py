"""L2 to the initial weights: what is not used becomes fresh again, ready for later tasks.

Source: Kumar et al. 2023 (regenerative regularisation, arXiv 2308.11958): lambda times the squared
distance, with lambda = strength / 2. Deviation: `step=implicit` applies it after Adam's step. Heads
of tasks that are not being learned go back to their initial weights too.
"""

import torch
from torch import Tensor

from agents.methods.method import Method, State
from agents.methods.quadratic import Step, quadratic
from agents.model import Model


def l2_init(model: Model, *, strength: float = 1e-3, step: Step = "implicit") -> Method:
    """Half of `strength` times the squared distance to the weights before the first step."""

    def init(theta: Tensor) -> State:
        return {"anchor": theta.clone()}

    def pull(theta: Tensor, state: State) -> tuple[Tensor, Tensor]:
        return torch.ones_like(theta[0]), state["anchor"]

    return quadratic("l2_init", strength, step, init=init, pull=pull)
