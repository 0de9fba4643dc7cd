"""The training steps of DQN and QRDQN, which have one loss."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from buffers.adapters.sb3.step import Step, descend, quantile_terms, weighted


class ValueStep(Step):
    """The training step that DQN and QRDQN share."""

    def _terms(self: Any, batch: Any) -> tuple[Tensor, Tensor]:
        """What the loss is the mean of, [batch, k], and TD errors, [batch]."""
        raise NotImplementedError

    def train(self: Any, gradient_steps: int, batch_size: int = 100) -> None:
        """Gradient steps, each on rows newly drawn; see DQN.train and QRDQN.train."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        losses = []
        for _ in range(gradient_steps):
            batch = self._rows(batch_size)
            terms, td_error = self._terms(batch)
            clipped = self.policy.parameters(), self.max_grad_norm
            losses.append(descend(self.policy.optimizer, weighted(terms, batch), *clipped))
            self._tell(batch, td_error)
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/loss", np.mean(losses))


class ExpectedStep(ValueStep):
    """DQN: Huber loss of the TD error."""

    def _terms(self: Any, batch: Any) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            following = self.q_net_target(batch.next_observations).max(dim=1).values.reshape(-1, 1)
            target = self._target(batch, following)
        current = self.q_net(batch.observations).gather(dim=1, index=batch.actions.long())
        error = (target - current.detach())[:, 0]
        return F.smooth_l1_loss(current, target, reduction="none"), error


class QuantileStep(ValueStep):
    """QRDQN: quantile Huber loss, summed over predicted quantiles."""

    def _terms(self: Any, batch: Any) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            following = self.quantile_net_target(batch.next_observations)
            best = following.mean(dim=1, keepdim=True).argmax(dim=2, keepdim=True)
            target = self._target(batch, _taken(following, best))
        current = _taken(self.quantile_net(batch.observations), batch.actions[..., None].long())
        loss = quantile_terms(current, target).sum(dim=-2)
        return loss, target.mean(1) - current.detach().mean(1)


def _taken(quantiles: Tensor, action: Tensor) -> Tensor:
    """[batch, quantiles, actions], [batch, 1, 1] -> [batch, quantiles]."""
    wide = action.expand(-1, quantiles.shape[1], 1)
    return quantiles.gather(dim=2, index=wide).squeeze(dim=2)
