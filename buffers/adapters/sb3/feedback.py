"""Training steps of Stable-Baselines3 that heed importance weights and report TD errors.

SB3's own ignore both, so that prioritised replay cannot work with them. They reduce the loss to one
number before anybody can weight its rows; the steps are therefore restated here, from SB3's `DQN`
and sb3-contrib's `QRDQN` (2.9, MIT licence). With all weights 1 they give the same bits.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from stable_baselines3 import DQN
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from torch import Tensor

Algorithm = TypeVar("Algorithm", bound=OffPolicyAlgorithm)
Terms = Callable[[Any, Any], tuple[Tensor, Tensor]]
"""`terms(model, batch)`: what the loss is the mean of, [batch, k], and TD errors, [batch]."""


@cache
def with_feedback(algorithm: type[Algorithm]) -> type[Algorithm]:
    """The algorithm with a training step that hears and tells how much each row matters.

    A row's loss is multiplied by its weight (Schaul et al., 2016, section 3.4), and its TD error is
    given to the replay buffer's `feedback`.

    Args:
        algorithm: `DQN`, `QRDQN`, or a class that trains as they do.

    Returns:
        A subclass, to be used and loaded in its stead; it needs a `MemoryReplayBuffer`.

    Raises:
        ValueError: The algorithm has a training step of its own, such as SAC's or TD3's.
    """
    terms = _terms_of(algorithm)
    return type(algorithm.__name__, (_Feedback, algorithm), {"_terms": staticmethod(terms)})


def _terms_of(algorithm: type[OffPolicyAlgorithm]) -> Terms:
    if algorithm.train is DQN.train:
        return _expected
    try:
        from sb3_contrib import QRDQN
    except ModuleNotFoundError:
        pass
    else:
        if algorithm.train is QRDQN.train:
            return _quantiles
    raise ValueError(
        f"{algorithm.__name__} has a training step of its own: "
        "feedback is there for those of DQN and QRDQN"
    )


class _Feedback:
    """The training step that DQN and QRDQN share."""

    _terms: Terms

    def _setup_model(self: Any) -> None:
        super()._setup_model()  # type: ignore[misc]
        if not hasattr(self.replay_buffer, "feedback"):
            raise ValueError(
                f"{type(self.replay_buffer).__name__} takes no feedback: "
                "pass replay_buffer_class=MemoryReplayBuffer"
            )

    def train(self: Any, gradient_steps: int, batch_size: int = 100) -> None:
        """Gradient steps, each on rows newly drawn; see DQN.train and QRDQN.train."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        losses = []
        for _ in range(gradient_steps):
            batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
            terms, td_error = self._terms(self, batch)
            loss = (batch.weights * terms).mean()
            losses.append(loss.item())
            self.policy.optimizer.zero_grad()
            loss.backward()
            if self.max_grad_norm is not None:
                torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
            self.policy.optimizer.step()
            self.replay_buffer.feedback(batch.index, td_error.cpu().numpy())
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/loss", np.mean(losses))


def _discounts(model: Any, batch: Any) -> Tensor | float:
    return model.gamma if batch.discounts is None else batch.discounts


def _expected(model: DQN, batch: Any) -> tuple[Tensor, Tensor]:
    """DQN: Huber loss of the TD error."""
    with torch.no_grad():
        following = model.q_net_target(batch.next_observations).max(dim=1).values.reshape(-1, 1)
        target = batch.rewards + (1 - batch.dones) * _discounts(model, batch) * following
    current = model.q_net(batch.observations).gather(dim=1, index=batch.actions.long())
    return F.smooth_l1_loss(current, target, reduction="none"), (target - current.detach())[:, 0]


def _quantiles(model: Any, batch: Any) -> tuple[Tensor, Tensor]:
    """QRDQN: quantile Huber loss, summed over predicted quantiles; the TD error is of the means."""
    with torch.no_grad():
        following = model.quantile_net_target(batch.next_observations)
        best = following.mean(dim=1, keepdim=True).argmax(dim=2, keepdim=True)
        following = _taken(following, best)
        target = batch.rewards + (1 - batch.dones) * _discounts(model, batch) * following
    current = _taken(model.quantile_net(batch.observations), batch.actions[..., None].long())
    error = target.unsqueeze(-2) - current.unsqueeze(-1)  # [batch, predicted, target]
    size, quantiles = error.abs(), current.shape[-1]
    huber = torch.where(size > 1, size - 0.5, error**2 * 0.5)
    middle = (torch.arange(quantiles, device=error.device, dtype=torch.float) + 0.5) / quantiles
    loss = (middle.view(1, -1, 1) - (error.detach() < 0).float()).abs() * huber
    return loss.sum(dim=-2), target.mean(1) - current.detach().mean(1)


def _taken(quantiles: Tensor, action: Tensor) -> Tensor:
    """[batch, quantiles, actions], [batch, 1, 1] -> [batch, quantiles]."""
    wide = action.expand(-1, quantiles.shape[1], 1)
    return quantiles.gather(dim=2, index=wide).squeeze(dim=2)
