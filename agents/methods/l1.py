"""L1: many weights at zero (Tibshirani 1996, the lasso).

`step=implicit` is the proximal step of the absolute value, soft thresholding (Daubechies et al.
2004, arXiv math/0307152): each weight moves lr * strength towards zero and stays there. Heads of
tasks that are not being learned shrink too.
"""

import torch
from torch import Tensor

from agents.methods.method import Method, State
from agents.methods.quadratic import Step
from agents.model import Batch, Model


def l1(model: Model, *, strength: float = 1e-4, step: Step = "implicit") -> Method:
    """`strength` times the sum of all weights' sizes."""

    def penalty(theta: Tensor, state: State, batch: Batch) -> Tensor:
        return strength * theta.abs().sum()

    def after_step(
        theta: Tensor, state: State, before: Tensor, gradient: Tensor, batch: Batch
    ) -> tuple[Tensor, State]:
        smaller = (theta.abs() - strength * batch["lr"]).clamp(min=0)
        return torch.copysign(smaller, theta), state

    if step == "loss":
        return Method("l1", penalty=penalty)
    return Method("l1", after_step=after_step)
