"""What all training steps with feedback share."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Step:
    """Stands before an algorithm of SB3 in a class; a subclass has its `train`."""

    def _setup_model(self: Any) -> None:
        wanted, kwargs = getattr(self, "n_steps", 1), self.replay_buffer_kwargs or {}
        if self.replay_buffer_class is not None and wanted not in (1, kwargs.get("n_steps", 1)):
            raise ValueError(
                f"n_steps={wanted} does not reach the memory, as SB3 gives it to no custom buffer: "
                f'pass replay_buffer_kwargs={{"n_steps": {wanted}, "gamma": {self.gamma}, ...}}'
            )
        if kwargs.get("n_steps", 1) > 1 and kwargs.get("gamma", self.gamma) != self.gamma:
            raise ValueError(
                f"the memory sums rewards with gamma={kwargs['gamma']}, and the algorithm has "
                f"{self.gamma}: give both the same"
            )
        super()._setup_model()  # type: ignore[misc]
        if not hasattr(self.replay_buffer, "feedback"):
            raise ValueError(
                f"{type(self.replay_buffer).__name__} takes no feedback: "
                "pass replay_buffer_class=MemoryReplayBuffer"
            )

    def _rows(self: Any, batch_size: int) -> Any:
        return self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)

    def _target(self: Any, batch: Any, following: Tensor) -> Tensor:
        """What Q values are regressed to, given the values of the next states."""
        discounts = self.gamma if batch.discounts is None else batch.discounts
        target: Tensor = batch.rewards + (1 - batch.dones) * discounts * following
        return target

    def _tell(self: Any, batch: Any, td_error: Tensor) -> None:
        self.replay_buffer.feedback(batch.index, td_error.cpu().numpy())


def weighted(terms: Tensor, batch: Any) -> Tensor:
    """The mean of a loss's terms, [batch, k], each times its row's weight."""
    mean: Tensor = (batch.weights * terms).mean()
    return mean


def descend(
    optimizer: torch.optim.Optimizer,
    loss: Tensor,
    clipped: Iterable[Tensor] = (),
    max_norm: float | None = None,
) -> float:
    """One step down this loss; returns it.

    Args:
        optimizer: Takes the step.
        loss: A number.
        clipped: Parameters whose gradient is shortened to the norm `max_norm`.
        max_norm: None: as long as it may be.
    """
    optimizer.zero_grad()
    loss.backward()
    if max_norm is not None:
        torch.nn.utils.clip_grad_norm_(clipped, max_norm)
    optimizer.step()
    return loss.item()


def quantile_terms(current: Tensor, target: Tensor) -> Tensor:
    """The quantile Huber loss of every pair (Dabney et al., 2018, eq. 10).

    Args:
        current: predicted quantiles, [..., predicted].
        target: quantiles of the target, [..., targets].

    Returns:
        [..., predicted, targets].
    """
    error = target.unsqueeze(-2) - current.unsqueeze(-1)
    size, quantiles = error.abs(), current.shape[-1]
    huber = torch.where(size > 1, size - 0.5, error**2 * 0.5)
    middle = (torch.arange(quantiles, device=error.device, dtype=torch.float) + 0.5) / quantiles
    terms: Tensor = (middle.view(-1, 1) - (error.detach() < 0).float()).abs() * huber
    return terms
