"""The learner's functions as they are run: for all members, on arrays, recorded."""

from collections.abc import Mapping
from functools import partial
from operator import is_

import numpy as np
import torch
from torch import Tensor

from agents import scales
from agents.compiling import Recorded, Tree
from agents.learner import Learner, LearnerState
from agents.members import each_member

# Gradient steps in one call, where calling takes long beside computing: each lengthens compiling.
AT_ONCE = 4
AT_ONCE_UP_TO = 20_000  # parameters of all members


class Engine:
    """Runs a learner's functions; the state is its caller's.

    Args:
        learner: What is to be run.
        members: How many.
        device: Where the state is.
    """

    def __init__(self, learner: Learner, members: int, device: torch.device) -> None:
        self.learner, self.members, self.device = learner, members, device
        self._update = Recorded(self._steps, "the update")
        self._choose = Recorded(self._best, "the choice of actions")
        self._observe = self._observers(compiled=False)
        small = members * learner.model.network.size <= AT_ONCE_UP_TO
        self._round = Round(device, AT_ONCE if small else 1)
        self._named: tuple[str, ...] = ()
        self._tasks: dict[tuple[int, int], Tensor] = {}  # by task and number of environments

    def compile(self, acting: bool) -> None:
        """Compiles the update at its next call, and if `acting`, what is done at every step."""
        self._update = Recorded(self._steps, "the update", compiled=True)
        if acting:
            self._choose = Recorded(self._best, "the choice of actions", compiled=True)
            self._observe = self._observers(compiled=True)

    def _observers(self, compiled: bool) -> list[Recorded]:
        """`_look` where observation statistics stand still, and where they move."""
        return [Recorded(partial(self._look, k), "the scales", compiled) for k in (False, True)]

    @property
    def recordings(self) -> int:
        """How often the update was recorded or compiled: once, unless its shapes changed."""
        return self._update.recordings

    @property
    def compiled(self) -> bool:
        """Whether the update runs compiled; not where that was asked for and failed."""
        return self._update.compiled

    @torch.no_grad()
    def update(
        self,
        state: LearnerState,
        data: Mapping[str, np.ndarray],
        weight: np.ndarray,
        noise: Tensor,
        lr: float,
        then: tuple[np.ndarray, int] | None = None,
    ) -> tuple[LearnerState, np.ndarray, dict[str, np.ndarray], np.ndarray | None]:
        """As many gradient steps as there is noise for.

        Args:
            state: Leading axis of members.
            data: Columns `[members, steps * batch, ...]`, cut into minibatches.
            weight: Importance of each row in the loss, `[members, steps * batch]`.
            noise: `[members, 3 * steps, noise]`.
            lr: Step size of Adam.
            then: Raw observations `[members, envs, *shape]` and the index of their task.

        Returns:
            The new state; the TD error of each row; numbers to look at, `[members]` each, of the
            last step; and what `best` would now say of the observations, in the same call.
        """
        calls = self._round.of(data, weight, noise, lr)
        seen = [] if then is None else [self._seen(*then, noise[:, 0])]
        errors, numbers, chosen = [], [], []
        for number, call in enumerate(calls, 1):
            last = seen if number == len(calls) else []
            state, result, *chosen = self._update(state, call, *last)
            errors.append(result["td_error"].cpu().numpy())
            numbers.append(result["info"].cpu().numpy())
        info = dict(zip(self._named, numbers[-1], strict=True))
        if len(calls) > 1:
            info["largest_loss"] = np.max([each[0] for each in numbers], axis=0)
        action = chosen[0]["action"].cpu().numpy() if chosen else None
        td_error = errors[0] if len(errors) == 1 else np.concatenate(errors, axis=1)
        return state, td_error, info, action

    @torch.no_grad()
    def rehearse(self, state: LearnerState, data: Mapping[str, np.ndarray]) -> None:
        """One gradient step, neither recorded nor kept."""
        size = self.learner.model.network.noise_size
        noise = torch.zeros(self.members, 3, size, device=self.device)
        weight = np.ones(data["reward"].shape, np.float32)
        self._steps(state, *Round(self.device).of(data, weight, noise, 0.0))

    @torch.no_grad()
    def best(self, state: LearnerState, obs: np.ndarray, task: int, noise: Tensor) -> np.ndarray:
        """The best actions for raw observations `[members, envs, *shape]`, `[members, envs]`."""
        (chosen,) = self._choose(state, self._seen(obs, task, noise))
        return chosen["action"].cpu().numpy()

    @torch.no_grad()
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
        return {name: _tensor(column, self.device) for name, column in columns.items()}

    def _seen(self, obs: np.ndarray, task: int, noise: Tensor) -> Tree:
        if (key := (task, obs.shape[1])) not in self._tasks:
            self._tasks[key] = torch.full(obs.shape[:2], task, device=self.device)
        return {"obs": _tensor(obs, self.device), "task": self._tasks[key], "noise": noise}

    def _steps(self, state: Tree, call: Tree, *seen: Tree) -> tuple[Tree, ...]:
        """Some gradient steps, and the best actions for what is seen after them.

        The numbers to look at are one tensor, `[numbers, members]`, the largest loss first.
        """
        errors, losses = [], []
        for batch in minibatches(call):
            state, info = self.learner.update(state, batch)
            errors.append(info.pop("td_error"))
            losses.append(info["loss"] + info["gradient_norm"])
        largest, weights = torch.stack(losses).abs().amax(0), state["theta"].sum(1)
        info = {"largest_loss": largest, "weights": weights, **info}
        info["td_error"] = errors[-1].abs().mean(1)
        self._named = tuple(info)
        td_error = errors[0] if len(errors) == 1 else torch.cat(errors, 1)
        result = {"td_error": td_error, "info": torch.stack(list(info.values()))}
        return state, result, *(self._best(state, each)[0] for each in seen)

    def _best(self, state: Tree, seen: Tree) -> tuple[Tree]:
        q = each_member(self.learner.q, self.members)
        return ({"action": q(state, seen["noise"], seen["obs"], seen["task"]).argmax(-1)},)

    def _look(self, adapt: bool, state: Tree, seen: Tree) -> tuple[Tree]:
        options = self.learner.options

        def one(state: Tree, seen: Tree) -> Tree:
            task, rewards = seen["task"], (seen["r"], seen["e"])
            if adapt:
                state = scales.observe(state, seen["o"], task)
            if options.scale_rewards:
                state = scales.observe_reward(state, *rewards, options.discount, task)
            return state

        return (each_member(one, self.members)(state, seen),)


class Round:
    """The rows of a round of gradient steps as tensors that share the memory of its arrays.

    The same arrays, rewritten in between, make the same dicts again, so that nothing about them
    needs to be looked at a second time. On a GPU they are copied there each time.

    Args:
        device: Where the rows go.
        at_once: Gradient steps in one call.
    """

    def __init__(self, device: torch.device, at_once: int = 1) -> None:
        self._device, self._at_once = device, at_once
        self._arrays: list[np.ndarray] = []
        self._calls: list[Tree] = []
        self._lr = torch.empty(0)

    def of(
        self, data: Mapping[str, np.ndarray], weight: np.ndarray, noise: Tensor, lr: float
    ) -> list[Tree]:
        """For each call the columns, `weight`, `noise`, and `lr` `[members]`."""
        arrays, steps = [weight, *data.values()], noise.shape[1] // 3
        calls = -(-steps // self._at_once)
        same = len(self._calls) == calls and len(self._arrays) == len(arrays)
        same = same and self._device.type == "cpu"
        if not (same and all(map(is_, self._arrays, arrays))):
            self._arrays, self._calls = arrays, self._made(data, weight, noise, steps)
        self._lr.fill_(lr)
        if noise.shape[2] == 0:
            return self._calls
        parts = noise.split(3 * self._at_once, dim=1)
        return [call | {"noise": part} for call, part in zip(self._calls, parts, strict=True)]

    def _made(
        self, data: Mapping[str, np.ndarray], weight: np.ndarray, noise: Tensor, steps: int
    ) -> list[Tree]:
        whole = {**data, "weight": weight}
        columns = {name: _tensor(column, self._device) for name, column in whole.items()}
        self._lr = torch.empty(len(weight), device=self._device)
        size = self._at_once * weight.shape[1] // steps
        calls = [{"noise": part, "lr": self._lr} for part in noise.split(3 * self._at_once, dim=1)]
        for name, column in columns.items():
            for call, part in zip(calls, column.split(size, dim=1), strict=True):
                call[name] = part
        return calls


def minibatches(call: Tree) -> list[Tree]:
    """A call's batches, one for each gradient step: there are three rows of noise for each."""
    steps = call["noise"].shape[1] // 3
    if steps == 1:
        return [whole_numbers(call)]
    parts: list[Tree] = [{} for _ in range(steps)]
    for name, column in call.items():
        pieces = (column,) * steps if name == "lr" else column.chunk(steps, dim=1)
        for part, piece in zip(parts, pieces, strict=True):
            part[name] = piece
    return [whole_numbers(part) for part in parts]


def whole_numbers(batch: Tree) -> Tree:
    """The batch with 64 bits for what indexes other tensors."""
    return batch | {name: batch[name].long() for name in ("action", "task")}


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    """The array as a tensor: on the CPU one that shares its memory."""
    tensor = torch.from_numpy(array)
    return tensor if device.type == "cpu" else tensor.to(device)
