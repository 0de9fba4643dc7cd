"""The learner: one pure function over one tree of tensors.

Everything that learning changes is `LearnerState`, a dict of tensors with a leading axis of
members: `theta` (all parameters as one vector), `target`, Adam's moments, counters, scales, and
what each method keeps. `update` and `total` take all members, all other functions one. All are
pure: nothing is read or changed but the arguments.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from agents import optimizer, scales
from agents.losses import action_gap, gradient_of, mask_invalid, mean_where
from agents.members import each_member
from agents.methods import Method
from agents.model import Batch, Model, taken
from agents.options import DQNOptions

LearnerState = dict[str, Tensor]
Info = dict[str, Tensor]


@dataclass(frozen=True)
class Learner:
    """DQN's update and its Q function.

    Attributes:
        options: The agent's options.
        model: The network's outputs and TD losses as functions of a parameter vector.
        methods: Continual-learning methods, in the order in which they act.
        scaled: Whether some observations are scaled before the network sees them.
    """

    options: DQNOptions
    model: Model
    methods: tuple[Method, ...]
    scaled: bool = True

    def init(
        self, theta: Tensor, scale: Tensor, shape: tuple[int, ...], num_envs: int
    ) -> LearnerState:
        """A member's state before its first step."""
        state = {"theta": theta, "target": theta.clone()}
        state |= {name: torch.zeros((), dtype=torch.int64) for name in ("updates", "task")}
        state |= optimizer.adam_init(theta) | scales.scales_init(scale, shape, num_envs)
        for method in self.methods:
            state = method.put(state, method.init(theta))
        return state

    def normalize(self, state: LearnerState, obs: Tensor, task: Tensor) -> Tensor:
        """Raw observations as the network sees them, [batch, *shape]."""
        if not self.scaled:
            return obs.to(state["theta"].dtype)  # images of 0 and 1 are bytes
        limit = scales.CLIP if self.options.normalize_observations else torch.inf
        return scales.normalize(state, obs, self.model.context(task), limit)

    def q(self, state: LearnerState, noise: Tensor, obs: Tensor, task: Tensor) -> Tensor:
        """Q values, [batch, actions]; minus infinity for actions that the task does not have."""
        inputs = self.normalize(state, obs, task)
        outputs = self.model.outputs(state["theta"], noise, inputs, task)
        return self.model.masked_q(outputs, task)

    def update(self, state: LearnerState, batch: Batch) -> tuple[LearnerState, Info]:
        """One gradient step of every member.

        Args:
            state: Leading axis of members.
            batch: Columns [members, batch, ...], `lr` [members], `noise` [members, 3, noise].

        Returns:
            The new state, and metrics, [members] each, with `td_error` [members, batch].
        """
        with torch.no_grad():
            batch = each_member(self.prepare, len(state["theta"]))(state, batch)
        gradient, info = gradient_of(
            lambda theta: self.total(self.loss, theta, state, batch), state["theta"]
        )
        gradients = {"data": gradient}
        if any(method.penalty for method in self.methods):
            gradients["penalty"], penalties = gradient_of(
                lambda theta: self.total(self.penalty, theta, state, batch), state["theta"]
            )
            info = info | penalties | {"loss": info["loss"] + penalties["penalty"]}
        with torch.no_grad():
            step = each_member(self.step, len(gradient))
            new_state, moved = step(state, batch, gradients)
        return new_state, info | moved

    def prepare(self, state: LearnerState, batch: Batch) -> Batch:
        """The batch with everything in it that no gradient flows through; see `Model`."""
        task = batch["task"]
        reward = batch["reward"]
        if self.options.scale_rewards:
            reward = reward * scales.reward_scale(state)[self.model.context(task)]
        return batch | {
            "inputs": self.normalize(state, batch["state"], task),
            "valid": self.model.valid[task],
            "current_task": state["task"].expand_as(task),
            "old": task != state["task"],
            "next_outputs": self.next_outputs(state, batch),
            "scaled_reward": reward,
            "bootstrap_discount": batch["discount"] * ~batch["done"],
            "target": state["target"],
        }

    def next_outputs(self, state: LearnerState, batch: Batch) -> Tensor:
        """The target network's outputs for the best next action, [batch, atoms]."""
        task, noise = batch["task"], batch["noise"]
        inputs = self.normalize(state, batch["next_state"], task)
        outputs = chooser = self.model.outputs(state["target"], noise[2], inputs, task)
        if self.options.double:
            chooser = self.model.outputs(state["theta"], noise[1], inputs, task)
        best = self.model.masked_q(chooser, task).argmax(-1)
        return taken(outputs, best)

    def total(
        self, function: Callable[..., tuple[Tensor, Info]], theta: Tensor, *given: dict[str, Tensor]
    ) -> tuple[Tensor, Info]:
        """Sum of all members' losses, whose gradient is each member's own: no loss is shared."""
        loss, info = each_member(function, len(theta))(theta, *given)
        return loss.sum(), info

    def loss(self, theta: Tensor, state: LearnerState, batch: Batch) -> tuple[Tensor, Info]:
        """TD loss plus the methods' terms on data, of one member."""
        outputs = self.model.outputs(theta, batch["noise"][0], batch["inputs"], batch["task"])
        q = self.model.values.q(outputs)
        terms = {"td_loss": self.mean_td(self.model.td_loss_of(outputs, batch), batch)}
        for method in self.methods:
            if method.loss:
                terms[f"{method.name}_loss"] = method.loss(theta, method.own(state), batch, q)
        total = sum_of(terms)
        info = {"loss": total, **terms, "td_error": self.model.td_error_of(outputs, batch)}
        return total, info | self.q_metrics(q, batch["valid"])

    def q_metrics(self, q: Tensor, valid: Tensor) -> Info:
        """Mean Q value and mean action gap, of Q values [batch, actions]."""
        if not self.model.mask:
            return {"q": q.mean(), "action_gap": action_gap(q).mean()}
        gap = action_gap(mask_invalid(q, valid))
        return {"q": mean_where(q, valid), "action_gap": gap.mean()}

    def mean_td(self, per_row: Tensor, batch: Batch) -> Tensor:
        """Mean TD loss, of the current task's rows only if a method has another use for the old."""
        weighted = batch["weight"] * per_row
        if not any(method.reserves_old for method in self.methods):
            return weighted.mean()
        return mean_where(weighted, ~batch["old"])

    def penalty(self, theta: Tensor, state: LearnerState, batch: Batch) -> tuple[Tensor, Info]:
        """The methods' terms on parameters alone, of one member."""
        terms = {
            f"{method.name}_penalty": method.penalty(theta, method.own(state), batch)
            for method in self.methods
            if method.penalty
        }
        total = sum_of(terms)
        return total, {**terms, "penalty": total}

    def step(
        self, state: LearnerState, batch: Batch, gradients: dict[str, Tensor]
    ) -> tuple[LearnerState, Info]:
        """One member's Adam step, target update and what the methods do to them.

        The order: rules on the gradient of the data's loss, the penalties' pull, clipping, Adam,
        what follows a step, the target.
        """
        before = state["theta"]
        gradient, changed = self.ruled(state, batch, gradients["data"])
        pulled = gradient + gradients["penalty"] if "penalty" in gradients else gradient
        norm = pulled.norm()
        clipped = optimizer.clip_norm(pulled, self.options.gradient_clip)
        step, moments = optimizer.adam(clipped, state, batch["lr"], self.options.adam_epsilon)
        state = state | moments | {"theta": before + step, "updates": state["updates"] + 1}
        state, moved = self.after_step(state, batch, before, gradient, step)
        info = changed | moved | {"gradient_norm": norm}
        return state | {"target": self.new_target(state)}, info

    def ruled(self, state: LearnerState, batch: Batch, gradient: Tensor) -> tuple[Tensor, Info]:
        """One member's gradient of the data's loss after the methods' rules, and who changed it."""
        info = {}
        for method in self.methods:
            if method.gradient:
                ruled = method.gradient(gradient, state["theta"], method.own(state), batch)
                ruled, acted = ruled if isinstance(ruled, tuple) else (ruled, ruled != gradient)
                info[f"{method.name}_changed"] = acted.any().to(gradient.dtype)
                gradient = ruled
        return gradient, info

    def after_step(
        self, state: LearnerState, batch: Batch, before: Tensor, gradient: Tensor, step: Tensor
    ) -> tuple[LearnerState, Info]:
        """One member's state after what the methods do after Adam's step, and how far they went."""
        info = {}
        for method in self.methods:
            if method.after_step:
                theta, own = method.after_step(
                    state["theta"], method.own(state), before, gradient, batch
                )
                if theta is not state["theta"]:  # else the method only measures
                    moved = (theta - state["theta"]).norm() / (step.norm() + 1e-12)
                    info[f"{method.name}_moved"] = moved
                state = method.put(state | {"theta": theta}, own)
        return state, info

    def new_target(self, state: LearnerState) -> Tensor:
        """The target network, moved towards the network every `target_update_interval` updates."""
        moved = torch.lerp(state["target"], state["theta"], self.options.target_rate)
        interval = self.options.target_update_interval
        if interval == 1:
            return moved
        return torch.where(state["updates"] % interval == 0, moved, state["target"])


def sum_of(terms: Info) -> Tensor:
    """The sum of named losses, from left to right."""
    first, *others = terms.values()
    return sum(others, first)
