"""The learner: one pure function over one tree of tensors.

Everything that learning changes is `LearnerState`, a dict of tensors with a leading axis of
members: `theta` (all parameters as one vector), `target`, Adam's moments, counters, scales, and
what each method keeps. All functions but `update` are written for one member; none has another
input or output.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from agents import optimizer, scales
from agents.compiling import gradient_of
from agents.flat import FlatNetwork
from agents.losses import action_gap, mask_invalid
from agents.members import each_member
from agents.methods import Method
from agents.options import DQNOptions
from agents.values import Values

LearnerState = dict[str, Tensor]
Batch = dict[str, Tensor]
Info = dict[str, Tensor]


@dataclass(frozen=True)
class Learner:
    """DQN's update and its Q function.

    Attributes:
        options: The agent's options.
        network: Q outputs as a function of a parameter vector.
        values: What the outputs mean.
        methods: Continual-learning methods, in the order in which they act.
        valid: Which actions a task has, bool [tasks, actions].
    """

    options: DQNOptions
    network: FlatNetwork
    values: Values
    methods: tuple[Method, ...]
    valid: Tensor

    def init(
        self, theta: Tensor, scale: Tensor, shape: tuple[int, ...], num_envs: int
    ) -> LearnerState:
        """A member's state before its first step."""
        state = {"theta": theta, "target": theta.clone()}
        state["updates"] = torch.zeros((), dtype=torch.int64)
        state |= optimizer.adam_init(theta) | scales.scales_init(scale, shape, num_envs)
        for method in self.methods:
            state = method.put(state, method.init(theta))
        return state

    def see(self, state: LearnerState, obs: Tensor, task: Tensor) -> Tensor:
        """Raw observations as the network sees them, [batch, *shape]."""
        limit = scales.CLIP if self.options.normalize_observations else torch.inf
        return scales.normalize(state, obs, self.context(task), limit)

    def outputs(self, theta: Tensor, noise: Tensor, seen: Tensor, task: Tensor) -> Tensor:
        """What the network says of observations that it sees, [batch, actions, atoms]."""
        outputs = self.network(theta, noise, seen, self.context(task))
        return outputs.reshape(len(seen), self.valid.shape[1], -1)

    def context(self, task: Tensor) -> Tensor:
        """The task as the agent may know it: zero for all where identity is hidden."""
        return task if self.options.task_identity == "known" else torch.zeros_like(task)

    def q(self, state: LearnerState, noise: Tensor, obs: Tensor, task: Tensor) -> Tensor:
        """Q values, [batch, actions]; minus infinity for actions that the task does not have."""
        outputs = self.outputs(state["theta"], noise, self.see(state, obs, task), task)
        return mask_invalid(self.values.q(outputs), self.valid[task])

    def update(self, state: LearnerState, batch: Batch) -> tuple[LearnerState, Info]:
        """One gradient step of every member.

        Args:
            state: Leading axis of members.
            batch: Columns [members, batch, ...], `lr` [members], `noise` [members, 3, noise].

        Returns:
            The new state, and numbers to look at, [members] each, with `td_error` [members, batch].
        """
        # A nested function's annotations would stop the compiler; a lambda has none.
        gradient, info = gradient_of(lambda theta: self.total(theta, state, batch), state["theta"])
        with torch.no_grad():
            step = each_member(self.step, len(gradient))
            new_state, norm = step(state, batch, gradient)
        return new_state, info | {"gradient_norm": norm}

    def total(self, theta: Tensor, state: LearnerState, batch: Batch) -> tuple[Tensor, Info]:
        """Sum of all members' losses, whose gradient is each member's own: no loss is shared."""
        loss, info = each_member(self.loss, len(theta))(theta, state, batch)
        return loss.sum(), info

    def loss(self, theta: Tensor, state: LearnerState, batch: Batch) -> tuple[Tensor, Info]:
        """TD loss plus the methods' terms, of one member."""
        task = batch["task"]
        seen = self.see(state, batch["state"], task)
        outputs = self.outputs(theta, batch["noise"][0], seen, task)
        q = self.values.q(outputs)
        per_row, td_error = self.td(theta, state, batch, _taken(outputs, batch["action"]))
        terms = {"td_loss": (batch["weight"] * per_row).mean()}
        for method in self.methods:
            if method.loss:
                terms[f"{method.name}_loss"] = method.loss(theta, method.own(state), batch, q)
        total = torch.stack(list(terms.values())).sum()
        valid = self.valid[task]
        mean_q = (q * valid).sum() / valid.sum()
        info = {"loss": total, **terms, "td_error": td_error, "q": mean_q}
        return total, info | {"action_gap": action_gap(q, valid).mean()}

    def td(
        self, theta: Tensor, state: LearnerState, batch: Batch, taken: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Loss and TD error of each row, [batch], for the outputs of the actions taken."""
        task = batch["task"]
        with torch.no_grad():
            seen = self.see(state, batch["next_state"], task)
            following = self.outputs(state["target"], batch["noise"][2], seen, task)
            chooser = following
            if self.options.double:
                chooser = self.outputs(theta, batch["noise"][1], seen, task)
            best = mask_invalid(self.values.q(chooser), self.valid[task]).argmax(-1)
            following = _taken(following, best)
            scale = scales.reward_scale(state)[self.context(task)]
            reward, discount = batch["reward"] * scale, batch["discount"] * ~batch["done"]
            error = reward + discount * self.values.q(following) - self.values.q(taken)
        return self.values.loss(taken, following, reward, discount), error

    def step(
        self, state: LearnerState, batch: Batch, gradient: Tensor
    ) -> tuple[LearnerState, Tensor]:
        """One member's Adam step, target update and what the methods do to them."""
        before = state["theta"]
        for method in self.methods:
            if method.gradient:
                gradient = method.gradient(gradient, before, method.own(state), batch)
        gradient, norm = optimizer.clip_norm(gradient, self.options.gradient_clip), gradient.norm()
        change, moments = optimizer.adam(gradient, state, batch["lr"], self.options.adam_epsilon)
        state = state | moments | {"theta": before + change, "updates": state["updates"] + 1}
        for method in self.methods:
            if method.after_step:
                own = method.own(state)
                theta, own = method.after_step(state["theta"], own, before, gradient, batch)
                state = method.put(state | {"theta": theta}, own)
        return state | {"target": self.new_target(state)}, norm

    def new_target(self, state: LearnerState) -> Tensor:
        """The target network, moved towards the network every `target_update_interval` updates."""
        moved = torch.lerp(state["target"], state["theta"], self.options.target_rate)
        interval = self.options.target_update_interval
        return (
            moved
            if interval == 1
            else torch.where(state["updates"] % interval == 0, moved, state["target"])
        )


def _taken(outputs: Tensor, action: Tensor) -> Tensor:
    """[batch, actions, atoms], [batch] -> [batch, atoms]."""
    return outputs.gather(1, action[:, None, None].expand(-1, 1, outputs.shape[2]))[:, 0]
