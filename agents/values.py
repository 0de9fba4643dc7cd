"""What a network's outputs mean: an expected return, quantiles of it, or a histogram of it.

Each class answers two questions: which Q values follow from the outputs, and how wrong a prediction
is against a bootstrapped target. Rewards and discounts come with n-step sums already made.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from agents.losses import huber


class Expectation:
    """The outputs are the Q values (Watkins; Mnih et al. 2015)."""

    def __init__(self, huber_delta: float) -> None:
        self.atoms = 1
        self.huber_delta = huber_delta

    def q(self, outputs: Tensor) -> Tensor:
        """[..., actions, 1] -> [..., actions]."""
        return outputs.squeeze(-1)

    def loss(
        self, outputs: Tensor, next_outputs: Tensor, reward: Tensor, discount: Tensor
    ) -> Tensor:
        """Loss per row, [batch].

        Args:
            outputs: Of the action taken, [batch, 1].
            next_outputs: The target network's for the next action, [batch, 1].
            reward: n-step sum, [batch].
            discount: What the next value is multiplied by; 0 at a termination, [batch].
        """
        target = reward + discount * next_outputs.squeeze(-1)
        return huber(target - outputs.squeeze(-1), self.huber_delta)


class Quantiles:
    """QR-DQN: the outputs are equally likely returns (Dabney et al. 2018, arXiv 1710.10044).

    Deviation: `huber_delta` 0 squares errors here as elsewhere, which learns expectiles.
    """

    def __init__(self, atoms: int, huber_delta: float) -> None:
        self.atoms = atoms
        self.huber_delta = huber_delta

    def q(self, outputs: Tensor) -> Tensor:
        """[..., actions, atoms] -> [..., actions]."""
        return outputs.mean(-1)

    def loss(
        self, outputs: Tensor, next_outputs: Tensor, reward: Tensor, discount: Tensor
    ) -> Tensor:
        """Quantile Huber loss per row (equation 10), [batch]; see Expectation.loss."""
        target = reward[:, None] + discount[:, None] * next_outputs
        error = target[:, None, :] - outputs[:, :, None]  # [batch, predicted, target]
        middle = (torch.arange(self.atoms, device=outputs.device) + 0.5) / self.atoms
        weight = (middle[:, None] - (error < 0).to(error.dtype)).abs()
        return (weight * huber(error, self.huber_delta)).mean(2).sum(1)


class Categories:
    """C51: the outputs are logits of a histogram of returns (Bellemare et al. 2017, 1707.06887)."""

    def __init__(self, atoms: int, limit: float) -> None:
        self.atoms = atoms
        self.limit = limit

    def _support(self, like: Tensor) -> Tensor:
        return torch.linspace(-self.limit, self.limit, self.atoms, device=like.device)

    def q(self, outputs: Tensor) -> Tensor:
        """[..., actions, atoms] -> [..., actions]."""
        return (outputs.softmax(-1) * self._support(outputs)).sum(-1)

    def loss(
        self, outputs: Tensor, next_outputs: Tensor, reward: Tensor, discount: Tensor
    ) -> Tensor:
        """Cross entropy to the projected target (algorithm 1), [batch]; see Expectation.loss."""
        support = self._support(outputs)
        moved = reward[:, None] + discount[:, None] * support
        moved = moved.clamp(-self.limit, self.limit)
        step = 2 * self.limit / (self.atoms - 1)
        share = (1 - (moved[:, :, None] - support).abs() / step).clamp(min=0)  # [batch, from, to]
        target = (next_outputs.softmax(-1)[:, :, None] * share).sum(1)
        return -(target * F.log_softmax(outputs, -1)).sum(-1)


Values = Expectation | Quantiles | Categories


def make_values(kind: str, atoms: int, huber_delta: float, limit: float) -> Values:
    """The meaning of the outputs by its name: `expectation`, `quantiles` or `categories`."""
    if kind == "quantiles":
        return Quantiles(atoms, huber_delta)
    return Categories(atoms, limit) if kind == "categories" else Expectation(huber_delta)
