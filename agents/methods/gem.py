"""GEM: the step must not raise the loss of any earlier task, to first order.

Source: Lopez-Paz and Ranzato 2017 (arXiv 1706.08840), equations 8 to 11. The dual programme, min
over v >= 0 of |G' v + g|^2, is a non-negative least-squares problem.
Deviations: the reference rows are the batch's own old rows rather than each task's whole memory;
the margin is a lower bound of v, as in the authors' code, so that every constraint holds for every
margin, where the paper's text adds it to the solution; a small ridge makes the solution unique
where references point in opposite directions; gradients are projected before clipping and Adam,
where the paper steps by plain SGD.
"""

import numpy as np
import torch
from torch import Tensor

from agents.methods.method import Method, State
from agents.methods.operators import accept_members
from agents.methods.references import task_gradients
from agents.model import Batch, Model

RIDGE = 1e-7  # of unit references


def gem(model: Model, *, margin: float = 0.0) -> Method:
    """The nearest gradient that points against no old task's; a margin favours the old tasks."""

    def gradient(gradient: Tensor, theta: Tensor, state: State, batch: Batch) -> Tensor:
        result: Tensor = project(gradient, task_gradients(model, theta, batch), margin)
        return result

    return Method("gem", gradient=gradient, needs_tasks=True, needs_old=True, reserves_old=True)


@torch.library.custom_op("retain::gem", mutates_args=())
def project(gradient: Tensor, references: Tensor, margin: float) -> Tensor:
    """The nearest vector whose dot product with no reference is negative.

    Args:
        gradient: [..., parameters].
        references: [..., tasks, parameters]; a row of zeros constrains nothing.
        margin: Least share of each reference that is added where any of them is opposed.
    """
    size = gradient.shape[-1]
    own, old = gradient.reshape(-1, 1, size), references.reshape(-1, references.shape[-2], size)
    vectors = torch.cat([old, own], 1).double()
    products = (vectors @ vectors.mT).cpu().numpy()
    dots = products[:, -1]
    allowed = torch.from_numpy(((dots >= 0) & np.isfinite(dots)).all(1)).to(own.device)
    if allowed.all():
        return gradient.clone()
    nearest = torch.from_numpy(_shares(products, margin)).to(own.device)[:, None] @ vectors
    result = torch.where(allowed[:, None, None], own, nearest.to(own.dtype))
    return result.reshape(gradient.shape)


def _shares(products: np.ndarray, margin: float) -> np.ndarray:
    """What the nearest vector is made of: shares of the references, then of the gradient.

    Args:
        products: Dot products of the references and the gradient with each other, [members,
            vectors, vectors]; the gradient is the last one.
        margin: See `project`.

    Returns:
        [members, vectors]; NaN where a product is not finite.
    """
    from scipy.optimize import nnls  # here, since it takes as long to import as all of ours

    finite = np.isfinite(products).all((1, 2))
    products = np.where(finite[:, None, None], products, 0)
    lengths = np.sqrt(np.diagonal(products, axis1=1, axis2=2))
    lengths = np.where(lengths > 0, lengths, 1)
    least = np.full_like(lengths, margin)
    least[:, -1] = 1
    # Only distances matter: any vectors with these products will do, and few numbers have them.
    squares, axes = np.linalg.eigh(products / (lengths[:, :, None] * lengths[:, None]))
    short = np.sqrt(squares.clip(min=0))[:, :, None] * axes.transpose(0, 2, 1)
    moved = (short @ (least * lengths)[:, :, None])[:, :, 0]
    limit, ridge = 100 * products.shape[1], RIDGE * np.eye(products.shape[1])[:, :-1]
    matrices = [np.concatenate([a[:, :-1], ridge]) for a in short]
    wanted = np.concatenate([-moved, np.zeros_like(moved)], 1)
    solved = [nnls(a, b, maxiter=limit)[0] for a, b in zip(matrices, wanted, strict=True)]
    least[:, :-1] += solved / lengths[:, :-1]
    return np.where(finite[:, None], least, np.nan)


accept_members(project)
