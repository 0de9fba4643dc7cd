"""The training steps of SAC, TQC and TD3: critics, whose rows are weighted, and an actor."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from stable_baselines3.common.utils import polyak_update
from torch import Tensor

from buffers.adapters.sb3.step import Step, descend, quantile_terms, weighted

Losses = defaultdict[str, list[float]]


class CriticStep(Step):
    """What the algorithms with an actor share."""

    def _record(self: Any, told: Losses) -> None:
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        for name, values in told.items():
            self.logger.record(f"train/{name}", np.mean(values))

    def _follow(self: Any, network: torch.nn.Module, target: torch.nn.Module) -> None:
        polyak_update(network.parameters(), target.parameters(), self.tau)


class SoftStep(CriticStep):
    """SAC: a mean square error per critic."""

    def train(self: Any, gradient_steps: int, batch_size: int = 64) -> None:
        """Gradient steps, each on rows newly drawn; see SAC.train and TQC.train."""
        self.policy.set_training_mode(True)
        tempering = [self.ent_coef_optimizer] if self.ent_coef_optimizer is not None else []
        optimizers = [self.actor.optimizer, self.critic.optimizer, *tempering]
        self._update_learning_rate(optimizers)
        told: Losses = defaultdict(list)
        for step in range(gradient_steps):
            self._learn(self._rows(batch_size), told)
            if step % self.target_update_interval == 0:
                self._follow(self.critic, self.critic_target)
                polyak_update(self.batch_norm_stats, self.batch_norm_stats_target, 1.0)
        self._n_updates += gradient_steps
        self._record(told)

    def _learn(self: Any, batch: Any, told: Losses) -> None:
        if self.use_sde:
            self.actor.reset_noise()
        action, log_prob = self._chosen(batch.observations)
        entropy = self._temper(log_prob, told)
        loss, td_error = self._critic_loss(batch, entropy)
        told["critic_loss"].append(descend(self.critic.optimizer, loss))
        gain = self._worth(batch.observations, action)
        loss = (entropy * log_prob - gain).mean()
        told["actor_loss"].append(descend(self.actor.optimizer, loss))
        self._tell(batch, td_error)

    def _chosen(self: Any, obs: Any) -> tuple[Tensor, Tensor]:
        """The actor's actions, [batch, k], and their log probabilities, [batch, 1]."""
        action, log_prob = self.actor.action_log_prob(obs)
        return action, log_prob.reshape(-1, 1)

    def _temper(self: Any, log_prob: Tensor, told: Losses) -> Tensor:
        """The entropy coefficient of this step; where it is learned, it learns."""
        if self.ent_coef_optimizer is None or self.log_ent_coef is None:
            entropy: Tensor = self.ent_coef_tensor
        else:
            entropy = torch.exp(self.log_ent_coef.detach())
            missing = (log_prob + self.target_entropy).detach()
            loss = -(self.log_ent_coef * missing).mean()
            told["ent_coef_loss"].append(descend(self.ent_coef_optimizer, loss))
        told["ent_coef"].append(entropy.item())
        return entropy

    def _critic_loss(self: Any, batch: Any, entropy: Tensor) -> tuple[Tensor, Tensor]:
        """The critics' loss, and TD errors, [batch]."""
        with torch.no_grad():
            action, log_prob = self._chosen(batch.next_observations)
            following = least(self.critic_target(batch.next_observations, action))
            target = self._target(batch, following - entropy * log_prob)
        current = self.critic(batch.observations, batch.actions)
        return 0.5 * squares(current, target, batch), furthest(current, target)

    def _worth(self: Any, obs: Any, action: Tensor) -> Tensor:
        """What the critics say of the actor's actions, [batch, 1]."""
        return least(self.critic(obs, action))


class TruncatedStep(SoftStep):
    """TQC: a quantile Huber loss, whose targets lack the largest quantiles of all critics."""

    def _critic_loss(self: Any, batch: Any, entropy: Tensor) -> tuple[Tensor, Tensor]:
        critic = self.critic
        dropped = self.top_quantiles_to_drop_per_net * critic.n_critics
        with torch.no_grad():
            action, log_prob = self._chosen(batch.next_observations)
            following = self.critic_target(batch.next_observations, action).flatten(1)
            following = following.sort().values[:, : critic.quantiles_total - dropped]
            target = self._target(batch, following - entropy * log_prob)
        current = critic(batch.observations, batch.actions)  # [batch, critics, quantiles]
        terms = quantile_terms(current, target.unsqueeze(1))
        worth = current.mean(dim=2).unbind(dim=1)
        error = furthest([q.unsqueeze(1) for q in worth], target.mean(dim=1, keepdim=True))
        return weighted(terms.flatten(1), batch), error

    def _worth(self: Any, obs: Any, action: Tensor) -> Tensor:
        worth: Tensor = self.critic(obs, action).mean(dim=2).mean(dim=1, keepdim=True)
        return worth


class DelayedStep(CriticStep):
    """TD3, and DDPG: a mean square error per critic, and an actor that learns less often."""

    def train(self: Any, gradient_steps: int, batch_size: int = 100) -> None:
        """Gradient steps, each on rows newly drawn; see TD3.train."""
        self.policy.set_training_mode(True)
        self._update_learning_rate([self.actor.optimizer, self.critic.optimizer])
        told: Losses = defaultdict(list)
        for _ in range(gradient_steps):
            self._n_updates += 1
            batch = self._rows(batch_size)
            loss, td_error = self._critic_loss(batch)
            told["critic_loss"].append(descend(self.critic.optimizer, loss))
            if self._n_updates % self.policy_delay == 0:
                told["actor_loss"].append(self._learn_actor(batch))
            self._tell(batch, td_error)
        self._record(told)

    def _critic_loss(self: Any, batch: Any) -> tuple[Tensor, Tensor]:
        """The critics' loss, and TD errors, [batch]."""
        with torch.no_grad():
            noise = batch.actions.clone().data.normal_(0, self.target_policy_noise)
            noise = noise.clamp(-self.target_noise_clip, self.target_noise_clip)
            action = (self.actor_target(batch.next_observations) + noise).clamp(-1, 1)
            following = least(self.critic_target(batch.next_observations, action))
            target = self._target(batch, following)
        current = self.critic(batch.observations, batch.actions)
        return squares(current, target, batch), furthest(current, target)

    def _learn_actor(self: Any, batch: Any) -> float:
        """One step of the actor; all targets follow then."""
        worth = self.critic.q1_forward(batch.observations, self.actor(batch.observations))
        loss = descend(self.actor.optimizer, -worth.mean())
        self._follow(self.critic, self.critic_target)
        self._follow(self.actor, self.actor_target)
        polyak_update(self.critic_batch_norm_stats, self.critic_batch_norm_stats_target, 1.0)
        polyak_update(self.actor_batch_norm_stats, self.actor_batch_norm_stats_target, 1.0)
        return loss


def least(values: Sequence[Tensor]) -> Tensor:
    """The least of the critics' values, [batch, 1] each, for every row."""
    return torch.cat(list(values), dim=1).min(dim=1, keepdim=True).values


def squares(current: Sequence[Tensor], target: Tensor, batch: Any) -> Tensor:
    """The weighted mean square error of each critic, [batch, 1], summed over the critics."""
    losses = [weighted(F.mse_loss(q, target, reduction="none"), batch) for q in current]
    return torch.stack(losses).sum()


def furthest(current: Sequence[Tensor], target: Tensor) -> Tensor:
    """The TD error, [batch], of that critic of each row which is furthest off."""
    errors = target - torch.cat(list(current), dim=1).detach()
    return errors.gather(1, errors.abs().argmax(dim=1, keepdim=True))[:, 0]
