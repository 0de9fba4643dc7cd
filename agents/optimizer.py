"""The optimiser on flat vectors."""

import torch
from torch import Tensor

Adam = dict[str, Tensor]
BETA1, BETA2 = 0.9, 0.999


def clip_norm(gradient: Tensor, limit: float) -> Tensor:
    """The gradient, shortened to the norm `limit` where it is longer; 0 means no limit."""
    if limit == 0:
        return gradient
    return gradient * (limit / (gradient.norm() + 1e-6)).clamp(max=1.0)


def adam_init(theta: Tensor) -> Adam:
    """Moments before the first step."""
    zeros = torch.zeros_like(theta)
    steps = torch.zeros((), dtype=torch.float64, device=theta.device)  # exact beyond 2**24
    return {"adam_mean": zeros, "adam_square": zeros.clone(), "adam_steps": steps}


def adam(gradient: Tensor, moments: Adam, lr: Tensor, epsilon: float) -> tuple[Tensor, Adam]:
    """The step of Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1) and its new moments."""
    steps = moments["adam_steps"] + 1
    mean = torch.lerp(moments["adam_mean"], gradient, 1 - BETA1)
    square = torch.lerp(moments["adam_square"], gradient.square(), 1 - BETA2)
    mean_share, square_share = (1 - b ** steps.to(mean.dtype) for b in (BETA1, BETA2))
    step = (-lr / mean_share) * mean / (square_share.rsqrt() * square.sqrt() + epsilon)
    return step, {"adam_mean": mean, "adam_square": square, "adam_steps": steps}
