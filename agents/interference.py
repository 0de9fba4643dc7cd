"""How steps on one task act on others: the angles between gradients, and changes of loss.

To first order, a step from theta to theta' changes the loss L of another task by
grad L . (theta' - theta): forgetting, if that is positive. The gradients are those of the TD loss,
with the bootstrap target of before the step, and so are the losses before and after.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from agents.learner import Learner
from agents.members import each_member
from agents.model import Model


@dataclass(frozen=True)
class Outlook:
    """What several tasks' TD losses look like from the learner's state of one moment.

    Attributes:
        model: Of the learner.
        theta: Parameters of that moment, [members, parameters].
        batch: Prepared rows, [members, tasks * n, ...]: n of each task, one task after the other.
        losses: Mean TD loss of each task, [members, tasks].
        gradients: Of these losses, [members, tasks, parameters].
    """

    model: Model
    theta: Tensor
    batch: dict[str, Tensor]
    losses: Tensor
    gradients: Tensor

    def cosines(self) -> dict[str, Tensor]:
        """Between the first task's gradient and each other's, [members, tasks - 1].

        Returns:
            Layer -> cosines of the layer's part, then `all` -> those of the whole vector; 0 where a
            gradient is.
        """
        parts = {
            layer: torch.cat([self.gradients[..., place] for place in places], -1)
            for layer, places in _layers(self.model).items()
        } | {"all": self.gradients}
        similar = torch.nn.functional.cosine_similarity
        return {
            name: similar(part[:, :1], part[:, 1:], dim=-1, eps=1e-30)
            for name, part in parts.items()
        }

    @torch.no_grad()
    def changes(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Predicted (first order) and measured change of each loss with these parameters.

        Args:
            theta: Parameters after some steps, [members, parameters].

        Returns:
            Two of [members, tasks].
        """
        way = (theta - self.theta)[..., None]
        predicted = (self.gradients @ way)[..., 0]
        tasks = self.losses.shape[1]
        each = each_member(lambda t, b: _losses(self.model, t, b, tasks), len(theta))
        return predicted, each(theta, self.batch) - self.losses


@torch.no_grad()
def outlook(
    learner: Learner, state: Mapping[str, Tensor], batch: Mapping[str, Tensor], tasks: int
) -> Outlook:
    """Losses and gradients of several tasks' rows; nothing is drawn, and nothing is changed.

    Args:
        learner: Of the agent.
        state: Its state; leading axis of members.
        batch: Columns [members, tasks * n, ...], one task after the other; `noise` [members, 3,
            noise].
        tasks: How many.
    """

    def one(
        state: dict[str, Tensor], batch: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        prepared = learner.prepare(state, batch)
        losses, backward, *_ = torch.func.vjp(
            lambda theta: _losses(learner.model, theta, prepared, tasks), state["theta"]
        )
        each = torch.eye(tasks, device=losses.device)
        return prepared, losses, torch.func.vmap(lambda chosen: backward(chosen)[0])(each)

    theta = state["theta"]
    found = each_member(one, len(theta))(dict(state), dict(batch))
    return Outlook(learner.model, theta, *found)


def _losses(model: Model, theta: Tensor, batch: dict[str, Tensor], tasks: int) -> Tensor:
    """Mean TD loss of each task's rows, of one member, [tasks]."""
    return model.td_loss(theta, batch).unflatten(0, (tasks, -1)).mean(1)


def _layers(model: Model) -> dict[str, list[slice]]:
    """Layer -> the places of its weights, biases and the like in the vector of parameters."""
    layers: dict[str, list[slice]] = {}
    for name, (place, _) in model.parameters().items():
        layers.setdefault(name.rpartition(".")[0], []).append(place)
    return layers
