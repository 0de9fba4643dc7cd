"""What the network says of a batch, and how wrong it is: pure functions of its parameters."""

from dataclasses import dataclass

import torch
from torch import Tensor

from agents.flat import FlatNetwork
from agents.losses import mask_invalid
from agents.values import Values

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Model:
    """The network's outputs, Q values and TD losses as functions of one vector of parameters.

    The functions are of one member. A *prepared* batch (see `Learner.prepare`) has beside its
    columns what no gradient flows through: `inputs` (observations as the network sees them, [n,
    *shape]), `valid` (actions that the row's task has, [n, actions]), `current_task` (the task
    being learned, [n]), `old` (whether the row is of another one, [n]), the bootstrap target's
    parts `next_outputs` (the target network's, of the best next action, [n, atoms]),
    `scaled_reward` and `bootstrap_discount` [n], and `target`, the target network's parameters.

    Attributes:
        network: Outputs as a function of a parameter vector.
        values: What the outputs mean.
        valid: Which actions a task has, bool [tasks, actions].
        task_known: Whether the network may know which task a row is of.
        mask: Whether some task lacks an action that another one has.
    """

    network: FlatNetwork
    values: Values
    valid: Tensor
    task_known: bool = True
    mask: bool = True

    @property
    def num_tasks(self) -> int:
        """Tasks in the sequence."""
        return len(self.valid)

    def context(self, task: Tensor) -> Tensor:
        """The task as the network may know it: zero for all where identity is hidden."""
        return task if self.task_known else torch.zeros_like(task)

    def outputs(self, theta: Tensor, noise: Tensor, inputs: Tensor, task: Tensor) -> Tensor:
        """What the network says of normalised observations, [n, actions, atoms]."""
        outputs = self.network(theta, noise, inputs, self.context(task))
        return outputs.reshape(len(inputs), self.valid.shape[1], -1)

    def q(self, theta: Tensor, batch: Batch, task: Tensor | None = None) -> Tensor:
        """Q values of a prepared batch's states, [n, actions], also of actions that are not valid.

        Args:
            theta: Parameters.
            batch: Prepared.
            task: As which task to look at the rows, [n]; by default their own.
        """
        task = batch["task"] if task is None else task
        return self.values.q(self.outputs(theta, batch["noise"][0], batch["inputs"], task))

    def td_loss(self, theta: Tensor, batch: Batch) -> Tensor:
        """TD loss of each row of a prepared batch, [n], without the rows' weights."""
        outputs = self.outputs(theta, batch["noise"][0], batch["inputs"], batch["task"])
        return self.td_loss_of(outputs, batch)

    def td_loss_of(self, outputs: Tensor, batch: Batch) -> Tensor:
        """TD loss of each row, [n], for outputs already computed."""
        target = batch["next_outputs"], batch["scaled_reward"], batch["bootstrap_discount"]
        return self.values.loss(taken(outputs, batch["action"]), *target)

    def td_error_of(self, outputs: Tensor, batch: Batch) -> Tensor:
        """How much each row's bootstrapped return exceeds its Q value, [n]."""
        next_q = self.values.q(batch["next_outputs"])
        predicted = self.values.q(taken(outputs, batch["action"]))
        return batch["scaled_reward"] + batch["bootstrap_discount"] * next_q - predicted

    def masked_q(self, outputs: Tensor, task: Tensor) -> Tensor:
        """Q values, [n, actions]; minus infinity for actions that the task does not have."""
        q = self.values.q(outputs)
        return mask_invalid(q, self.valid[task]) if self.mask else q

    def parameters(self) -> dict[str, tuple[slice, torch.Size]]:
        """Where in the vector each named parameter lies, and its shape."""
        return self.network.places()


def taken(outputs: Tensor, action: Tensor) -> Tensor:
    """The outputs of the actions taken, [n, actions, atoms], [n] -> [n, atoms]."""
    return outputs.gather(1, action[:, None, None].expand(-1, 1, outputs.shape[2])).squeeze(1)
