"""GEM: the step must not raise the loss of any earlier task, to first order.

Source: Lopez-Paz and Ranzato 2017 (arXiv 1706.08840), equations 8 to 11. The dual programme, min
over v >= 0 of |G' v + g|^2, is a non-negative least-squares problem.
Deviations: the reference rows are the batch's own old rows rather than each task's whole memory;
the margin is a lower bound of v, as in the authors' code, so that every constraint holds for every
margin, where the paper's text adds it to the solution; gradients are projected before clipping and
Adam, where the paper steps by plain SGD.
"""

import numpy as np
import torch
from torch import Tensor

from agents.methods.method import Batch, Method, State
from agents.methods.operators import accept_members
from agents.methods.references import task_gradients
from agents.model import Model


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
    flat = gradient.double().reshape(-1, size).numpy()
    old = references.double().reshape(len(flat), -1, size).numpy()
    solved = [_solve(own, refs, margin) for own, refs in zip(flat, old, strict=True)]
    result = torch.from_numpy(np.stack(solved)).to(gradient.dtype)
    return result.reshape(gradient.shape)


def _solve(gradient: np.ndarray, references: np.ndarray, margin: float) -> np.ndarray:
    """See `project`, of one member and in double precision; NaN where an input is not finite."""
    from scipy.optimize import nnls  # here, since it takes as long to import as all of ours

    dots = references @ gradient
    if not np.isfinite(dots).all():
        return np.full_like(gradient, np.nan)
    if (dots >= 0).all():
        return gradient
    moved = gradient + margin * references.sum(0)
    # Only the triangle of a QR decomposition matters to the distances: tasks + 1 rows, not all.
    triangle = np.asarray(np.linalg.qr(np.column_stack([references.T, moved]), mode="r"))
    share, _ = nnls(triangle[:, :-1], -triangle[:, -1], maxiter=100 * len(references))
    return moved + share @ references


accept_members(project)
