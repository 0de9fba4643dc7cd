"""MeDQN: Q values stay near those of the target network.

Source: Lan et al. 2023 (arXiv 2205.10868), the consolidation loss on states that are stored (their
variant MeDQN(R)).
Deviations: its strength is constant rather than growing with training, whose length the learner
does not know. Their variant MeDQN(U), on states drawn from the range of those seen, is not there:
observations are standardised by statistics that still move, and the range of what the network was
shown keeps the extremes of early days.
"""

from torch import Tensor

from agents.losses import mean_where
from agents.methods.method import Method, State
from agents.model import Batch, Model


def medqn(model: Model, *, strength: float = 1.0) -> Method:
    """Mean squared distance to the target network's Q values, over all rows' valid actions."""

    def loss(theta: Tensor, state: State, batch: Batch, q: Tensor) -> Tensor:
        target = model.q(batch["target"], batch)
        return strength * mean_where((q - target).square(), batch["valid"])

    return Method("medqn", loss=loss)
