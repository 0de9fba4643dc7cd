"""Dark experience replay++: old rows remind of old Q values, and their own rewards count as well.

Source: Buzzega et al. 2020 (arXiv 2004.07211), algorithm 2, with the TD loss for the cross entropy.
Deviations: those of `der`; both terms see all of the batch's old rows, where the paper draws a
batch for each: the same in expectation, with less variance. The two terms are weighted whatever
share of the batch is old; where half of it is, `beta` 1 and twice its strength are `distill`.
"""

from dataclasses import replace

from torch import Tensor

from agents.losses import mean_where
from agents.methods.der import der
from agents.methods.labels import squared_distance
from agents.methods.method import Method, State
from agents.model import Batch, Model


def derpp(model: Model, *, strength: float = 10.0, beta: float = 0.5) -> Method:
    """The term of `der`, plus `beta` times the mean TD loss of the rows of earlier tasks.

    At strength 0 it does nothing: those rows then count in the TD loss like any others.
    """
    plain = der(model, strength=strength)
    if strength == 0:
        return replace(plain, name="derpp")

    def loss(theta: Tensor, state: State, batch: Batch, q: Tensor) -> Tensor:
        td_loss = mean_where(batch["weight"] * model.td_loss(theta, batch), batch["old"])
        return strength * squared_distance(q, batch) + beta * td_loss

    return replace(plain, name="derpp", loss=loss)
