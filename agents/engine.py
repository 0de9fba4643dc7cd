"""The learner's functions as they are run: for all members, on arrays, recorded."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from agents import scales
from agents.compiling import Compiler, Recorded
from agents.learner import Learner, LearnerState
from agents.members import each_member
from agents.readings import Readings
from agents.recording import Tree
from agents.tensors import BatchTensors, ObservationTensors, array_of, minibatches
from agents.transfer import transfer

# Gradient steps in one call, where calling takes long beside computing: each lengthens compiling.
AT_ONCE = 4
AT_ONCE_UP_TO = 20_000  # parameters of all members


class Engine:
    """Runs a learner's functions; the state is its caller's.

    Args:
        learner: What is to be run.
        members: How many.
        device: Where the state is.

    Attributes:
        quiet: Noise that changes nothing, `[members, noise]`.
    """

    def __init__(self, learner: Learner, members: int, device: torch.device) -> None:
        self.learner, self.members, self.device = learner, members, device
        self._update = Recorded(self._steps, "the update")
        self._choose = Recorded(self._best, "the choice of actions")
        self._observe = self._observers()
        small = members * learner.model.network.size <= AT_ONCE_UP_TO
        self.quiet = torch.zeros(members, learner.model.network.noise_size, device=device)
        self._batches = BatchTensors(device, AT_ONCE if small else 1)
        self._observations = ObservationTensors(device, self.quiet)
        self._named: tuple[str, ...] = ()

    def compile(self, acting: bool) -> None:
        """Compiles the update at its next call, and if `acting`, what is done at every step."""
        compiler = Compiler()
        self._update = Recorded(self._steps, "the update", compiler)
        if acting:
            self._choose = Recorded(self._best, "the choice of actions", compiler)
            self._observe = self._observers(compiler)

    def _observers(self, compiler: Compiler | None = None) -> list[Recorded]:
        """`_update_scales` where observation statistics stand still, and where they move."""
        updates = (partial(self._update_scales, adapt) for adapt in (False, True))
        return [Recorded(update, "the scales", compiler) for update in updates]

    @property
    def recordings(self) -> int:
        """How often the update was recorded or compiled: once, unless its shapes changed."""
        return self._update.recordings

    @property
    def compiled(self) -> bool:
        """Whether the update runs compiled; not where that was asked for and failed."""
        return self._update.compiled

    def update(
        self,
        state: LearnerState,
        data: Mapping[str, np.ndarray],
        weight: np.ndarray,
        noise: Tensor,
        lr: float,
        then: tuple[np.ndarray, int] | None = None,
    ) -> tuple[LearnerState, np.ndarray, np.ndarray, Readings, np.ndarray | None]:
        """As many gradient steps as there is noise for.

        Args:
            state: Leading axis of members.
            data: Columns `[members, steps * batch, ...]`, cut into minibatches.
            weight: Importance of each row in the loss, `[members, steps * batch]`.
            noise: `[members, 3 * steps, noise]`.
            lr: Learning rate of Adam.
            then: Raw observations `[members, envs, *shape]` and the index of their task, of a
                network without noise.

        Returns:
            The new state; the TD error of each row; the health of each member, `[2, members]`: the
            largest |loss + norm of the gradient| of its steps, and the sum of its weights, finite
            numbers if all is well; metrics of the last step; and what `best` would now
            say of the observations, in the same call.
        """
        calls = self._batches.of(data, weight, noise, lr)
        seen = [] if then is None else [self._observations.at(*then, self.quiet)]
        errors, numbers, chosen = [], [], []
        for number, call in enumerate(calls, 1):
            last = seen if number == len(calls) else []
            state, result, *chosen = self._update(state, call, *last)
            errors.append(array_of(result["td_error"]))
            numbers.append(array_of(result["info"]))
        health, shown = numbers[-1][:2], numbers[-1][2:]
        if len(calls) > 1:
            health[0] = np.max([each[0] for each in numbers], axis=0)
        action = array_of(chosen[0]["action"]) if chosen else None
        td_error = errors[0] if len(errors) == 1 else np.concatenate(errors, axis=1)
        return state, td_error, health, Readings(self._named, shown), action

    def rehearse(self, state: LearnerState, data: Mapping[str, np.ndarray]) -> None:
        """One gradient step, neither recorded nor kept."""
        size = self.learner.model.network.noise_size
        noise = torch.zeros(self.members, 3, size, device=self.device)
        weight = np.ones(data["reward"].shape, np.float32)
        self._steps(state, *BatchTensors(self.device).of(data, weight, noise, 0.0))

    def best(self, state: LearnerState, obs: np.ndarray, task: int, noise: Tensor) -> np.ndarray:
        """The best actions for raw observations `[members, envs, *shape]`, `[members, envs]`."""
        (chosen,) = self._choose(state, self._observations.at(obs, task, noise))
        return array_of(chosen["action"])

    def observe(
        self,
        state: LearnerState,
        obs: np.ndarray,
        reward: np.ndarray,
        ended: np.ndarray,
        task: int,
        adapt: bool,
    ) -> LearnerState:
        """The state after taking in the scales of a step; see `DQN.observe`."""
        options = self.learner.options
        task = task if options.task_identity == "known" else 0
        adapt = adapt and options.normalize_observations and obs.ndim == 3
        if not adapt and not options.scale_rewards:
            return state
        seen = {"o": obs, "r": reward, "e": ended, "task": np.full((self.members, 1), task)}
        (state,) = self._observe[adapt](state, self.tensors(seen))
        return state

    def tensors(self, columns: Mapping[str, np.ndarray]) -> Tree:
        """Columns as tensors where the state is."""
        sender = transfer(columns, self.device)
        sender.send()
        return sender.tensors

    def _steps(self, state: Tree, call: Tree, *seen: Tree) -> tuple[Tree, ...]:
        """Some gradient steps, and the best actions for what is seen after them.

        The metrics are one tensor, `[metrics, members]`, after the two numbers of health.
        """
        errors, sizes = [], []
        for batch in minibatches(call):
            state, info = self.learner.update(state, batch)
            errors.append(info.pop("td_error"))
            sizes.append(info["loss"] + info["gradient_norm"])
        largest, weights = torch.stack(sizes).abs().amax(0), state["theta"].sum(1)
        info["td_error"] = errors[-1].abs().mean(1)
        self._named = tuple(info)
        td_error = errors[0] if len(errors) == 1 else torch.cat(errors, 1)
        result = {"td_error": td_error, "info": torch.stack([largest, weights, *info.values()])}
        return state, result, *(self._best(state, each)[0] for each in seen)

    def _best(self, state: Tree, seen: Tree) -> tuple[Tree]:
        q = each_member(self.learner.q, self.members)
        return ({"action": q(state, seen["noise"], seen["obs"], seen["task"]).argmax(-1)},)

    def _update_scales(self, adapt: bool, state: Tree, seen: Tree) -> tuple[Tree]:
        options = self.learner.options

        def one(state: Tree, seen: Tree) -> Tree:
            task, rewards = seen["task"], (seen["r"], seen["e"])
            if adapt:
                state = scales.observe(state, seen["o"], task)
            if options.scale_rewards:
                state = scales.observe_reward(state, *rewards, options.discount, task)
            return state

        return (each_member(one, self.members)(state, seen),)
