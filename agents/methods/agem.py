"""A-GEM: the step must not raise the mean loss of earlier tasks, to first order.

Source: Chaudhry et al. 2019 (arXiv 1812.00420), equation 11.
Deviations: the reference rows are the batch's own old rows, weighed as the memory says, rather than
a second batch; what is projected is the gradient before clipping and Adam, where the paper steps by
plain SGD, so that the promise holds for the gradient and not exactly for Adam's step.
"""

import torch
from torch import Tensor

from agents.methods.method import Method, State
from agents.methods.references import old_gradient
from agents.model import Batch, Model


def agem(model: Model) -> Method:
    """Takes from the gradient its part against the old rows' gradient, where it points that way."""

    def gradient(gradient: Tensor, theta: Tensor, state: State, batch: Batch) -> Tensor:
        return project(gradient, old_gradient(model, theta, batch))

    return Method("agem", gradient=gradient, needs_old=True, reserves_old=True)


def project(gradient: Tensor, reference: Tensor) -> Tensor:
    """The nearest vector whose dot product with the reference is not negative, [parameters]."""
    dot, square = gradient @ reference, reference.square().sum()
    share = dot / square.clamp(min=torch.finfo(square.dtype).tiny)
    # Asked this way round, a reference that became NaN or infinite is not overlooked.
    return torch.where((dot >= 0) & (dot < torch.inf), gradient, gradient - share * reference)
