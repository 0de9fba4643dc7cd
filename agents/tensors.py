"""Arrays as the tensors that a learner's functions take: the same ones from call to call."""

from collections.abc import Mapping
from operator import is_
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.recording import Tree
from agents.transfer import Sender, Shared, transfer


class BatchTensors:
    """The rows of a round of gradient steps as tensors.

    The same arrays, rewritten in between, make the same dicts again, so that nothing about them
    needs to be looked at a second time.

    Args:
        device: Where the rows go.
        at_once: Gradient steps in one call.
    """

    def __init__(self, device: torch.device, at_once: int = 1) -> None:
        self._device, self._at_once = device, at_once
        self._arrays: list[np.ndarray] = []
        self._columns: Sender = Shared({})  # these arrays as tensors
        self._calls: list[Tree] = []  # of these arrays
        self._noise = torch.empty(0)  # that these calls have
        self._lr, self._rate = torch.empty(0), 0.0

    def of(
        self, data: Mapping[str, np.ndarray], weight: np.ndarray, noise: Tensor, lr: float
    ) -> list[Tree]:
        """For each call the columns, `weight`, `noise`, and `lr` `[members]`."""
        arrays = [weight, *data.values()]
        same = len(self._arrays) == len(arrays) and all(map(is_, self._arrays, arrays))
        if not (same and noise.shape == self._noise.shape):
            self._arrays, self._noise = arrays, noise
            self._calls = self._made(data, weight, noise)
        self._columns.send()
        if lr != self._rate:
            self._lr.fill_(lr)
            self._rate = lr
        if noise is self._noise:
            return self._calls
        parts = noise.split(3 * self._at_once, dim=1)
        return [call | {"noise": part} for call, part in zip(self._calls, parts, strict=True)]

    def _made(
        self, data: Mapping[str, np.ndarray], weight: np.ndarray, noise: Tensor
    ) -> list[Tree]:
        self._columns = transfer({**data, "weight": weight}, self._device)
        self._lr, self._rate = torch.zeros(len(weight), device=self._device), 0.0
        size = self._at_once * weight.shape[1] // (noise.shape[1] // 3)
        calls = [{"noise": part, "lr": self._lr} for part in noise.split(3 * self._at_once, dim=1)]
        for name, column in self._columns.tensors.items():
            for call, part in zip(calls, column.split(size, dim=1), strict=True):
                call[name] = part
        return calls


class ObservationTensors:
    """Observations as tensors: always the same ones, filled anew.

    Args:
        device: Where they go.
        noise: Of a network without noise, `[members, 0]`.
    """

    def __init__(self, device: torch.device, noise: Tensor) -> None:
        self._device, self._noise = device, noise
        self._made: dict[Any, tuple[np.ndarray, Sender, Tree]] = {}

    def at(self, obs: np.ndarray, task: int, noise: Tensor) -> Tree:
        """Raw observations `[members, envs, *shape]` as `obs`, with `task` and `noise`."""
        if (key := (task, obs.shape, obs.dtype)) not in self._made:
            self._made[key] = self._make(obs, task)
        room, seen, tree = self._made[key]
        room[...] = obs
        seen.send()
        return tree if noise is self._noise else tree | {"noise": noise}

    def _make(self, obs: np.ndarray, task: int) -> tuple[np.ndarray, Sender, Tree]:
        room = np.empty_like(obs)
        seen = transfer({"obs": room}, self._device)
        tasks = torch.full(obs.shape[:2], task, device=self._device)
        return room, seen, seen.tensors | {"task": tasks, "noise": self._noise}


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


def array_of(tensor: Tensor) -> np.ndarray:
    """The tensor as an array: of the CPU's one that shares its memory."""
    array: np.ndarray = (tensor if tensor.is_cpu else tensor.cpu()).numpy()
    return array
