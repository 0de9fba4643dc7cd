"""Distillation: on rows of earlier tasks, keep the Q values of when their task ended.

Source: Rusu et al. 2016 (policy distillation, arXiv 1511.06295), its mean-squared-error loss on Q
values; memory and targets as in DER (Buzzega et al. 2020, arXiv 2004.07211, algorithm 1).
Deviations: the targets are computed when the task ends, not when the row was stored, since early Q
values are underestimates; values are compared in units of the task's scaled returns.
"""

from torch import Tensor

from agents.methods.labels import squared_distance
from agents.methods.method import Method, State
from agents.model import Batch, Model


def distill(model: Model, *, strength: float = 5.0) -> Method:
    """Mean squared distance to the stored Q values, over the stored rows' valid actions."""

    def loss(theta: Tensor, state: State, batch: Batch, q: Tensor) -> Tensor:
        return strength * squared_distance(q, batch)

    return Method("distill", loss=loss, needs_q=True, needs_old=True)
