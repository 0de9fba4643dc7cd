"""The learner: one pure function over one tree of tensors.

Everything that learning changes is `LearnerState`, a dict of tensors with a leading axis of
members: `theta` (all parameters as one vector), `target`, Adam's moments, counters, scales, and
what each method keeps. All functions but `update` are written for one member; none has another
input or output.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from agents import optimizer, scales
from agents.compiling import gradient_of
from agents.losses import action_gap, mask_invalid, mean_where
from agents.members import each_member
from agents.methods import Method
from agents.model import Model, taken
from agents.options import DQNOptions

LearnerState = dict[str, Tensor]
Batch = dict[str, Tensor]
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

    def see(self, state: LearnerState, obs: Tensor, task: Tensor) -> Tensor:
        """Raw observations as the network sees them, [batch, *shape]."""
        if not self.scaled:
            return obs.to(state["obs_mean"].dtype)  # images of 0 and 1 are bytes
        limit = scales.CLIP if self.options.normalize_observations else torch.inf
        return scales.normalize(state, obs, self.model.context(task), limit)

    def q(self, state: LearnerState, noise: Tensor, obs: Tensor, task: Tensor) -> Tensor:
        """Q values, [batch, actions]; minus infinity for actions that the task does not have."""
        seen = self.see(state, obs, task)
        outputs = self.model.outputs(state["theta"], noise, seen, task)
        return self.model.masked_q(outputs, task)

    def update(self, state: LearnerState, batch: Batch) -> tuple[LearnerState, Info]:
        """One gradient step of every member.

        Args:
            state: Leading axis of members.
            batch: Columns [members, batch, ...], `lr` [members], `noise` [members, 3, noise].

        Returns:
            The new state, and numbers to look at, [members] each, with `td_error` [members, batch].
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
            "seen": self.see(state, batch["state"], task),
            "valid": self.model.valid[task],
            "running": state["task"].expand_as(task),
            "old": task != state["task"],
            "following": self.following(state, batch),
            "scaled_reward": reward,
            "worth": batch["discount"] * ~batch["done"],
            "target": state["target"],
        }

    def following(self, state: LearnerState, batch: Batch) -> Tensor:
        """The target network's outputs for the best next action, [batch, atoms]."""
        task, noise = batch["task"], batch["noise"]
        seen = self.see(state, batch["next_state"], task)
        following = self.model.outputs(state["target"], noise[2], seen, task)
        chooser = following
        if self.options.double:
            chooser = self.model.outputs(state["theta"], noise[1], seen, task)
        best = self.model.masked_q(chooser, task).argmax(-1)
        return taken(following, best)

    def total(
        self, function: Callable[..., tuple[Tensor, Info]], theta: Tensor, *given: dict[str, Tensor]
    ) -> tuple[Tensor, Info]:
        """Sum of all members' losses, whose gradient is each member's own: no loss is shared."""
        loss, info = each_member(function, len(theta))(theta, *given)
        return loss.sum(), info

    def loss(self, theta: Tensor, state: LearnerState, batch: Batch) -> tuple[Tensor, Info]:
        """TD loss plus the methods' terms on data, of one member."""
        outputs = self.model.outputs(theta, batch["noise"][0], batch["seen"], batch["task"])
        q = self.model.values.q(outputs)
        terms = {"td_loss": self.mean_td(self.model.td_loss_of(outputs, batch), batch)}
        for method in self.methods:
            if method.loss:
                terms[f"{method.name}_loss"] = method.loss(theta, method.own(state), batch, q)
        total = sum_of(terms)
        info = {"loss": total, **terms, "td_error": self.model.td_error_of(outputs, batch)}
        return total, info | self.looks(q, batch["valid"])

    def looks(self, q: Tensor, valid: Tensor) -> Info:
        """Numbers to look at, of Q values [batch, actions]."""
        if not self.model.mask:
            return {"q": q.mean(), "action_gap": action_gap(q).mean()}
        gap = action_gap(mask_invalid(q, valid))
        return {"q": mean_where(q, valid), "action_gap": gap.mean()}

    def mean_td(self, per_row: Tensor, batch: Batch) -> Tensor:
        """Mean TD loss, of the running task's rows only if a method has another use for the old."""
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
        before, gradient, info = state["theta"], gradients["data"], {}
        for method in self.methods:
            if method.gradient:
                ruled = method.gradient(gradient, before, method.own(state), batch)
                ruled, acted = ruled if isinstance(ruled, tuple) else (ruled, ruled != gradient)
                info[f"{method.name}_changed"] = acted.any().to(gradient.dtype)
                gradient = ruled
        pulled = gradient + gradients["penalty"] if "penalty" in gradients else gradient
        norm = pulled.norm()
        step = optimizer.clip_norm(pulled, self.options.gradient_clip)
        change, moments = optimizer.adam(step, state, batch["lr"], self.options.adam_epsilon)
        state = state | moments | {"theta": before + change, "updates": state["updates"] + 1}
        for method in self.methods:
            if method.after_step:
                theta, own = method.after_step(
                    state["theta"], method.own(state), before, gradient, batch
                )
                if theta is not state["theta"]:  # else the method only measures
                    moved = (theta - state["theta"]).norm() / (change.norm() + 1e-12)
                    info[f"{method.name}_moved"] = moved
                state = method.put(state | {"theta": theta}, own)
        return state | {"target": self.new_target(state)}, info | {"gradient_norm": norm}

    def end_task(self, state: LearnerState, samples: Batch) -> LearnerState:
        """Lets each method take in one member's task that ends, from rows of it.

        Weights that a method moves are moved in the target too: it must not pull them back.
        """
        batch = self.prepare(state, samples)
        return self._at_switch("end_task", state, batch)

    def start_task(self, state: LearnerState) -> LearnerState:
        """Lets each method prepare one member for the task that begins; see `end_task`."""
        return self._at_switch("start_task", state)

    def _at_switch(
        self, moment: Literal["end_task", "start_task"], state: LearnerState, *given: Batch
    ) -> LearnerState:
        before = state["theta"]
        for method in self.methods:
            if act := getattr(method, moment):
                theta, own = act(state["theta"], method.own(state), *given)
                state = method.put(state | {"theta": theta}, own)
        target = torch.where(state["theta"] == before, state["target"], state["theta"])
        return state | {"target": target}

    def new_target(self, state: LearnerState) -> Tensor:
        """The target network, moved towards the network every `target_update_interval` updates."""
        moved = torch.lerp(state["target"], state["theta"], self.options.target_rate)
        interval = self.options.target_update_interval
        return (
            moved
            if interval == 1
            else torch.where(state["updates"] % interval == 0, moved, state["target"])
        )


def sum_of(terms: Info) -> Tensor:
    """The sum of named losses, from left to right."""
    first, *others = terms.values()
    return sum(others, first)
