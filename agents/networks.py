"""Q networks: a torso that sees, and a head that says what each action is worth.

A network is any module with `forward(obs [batch, *shape], task [batch]) -> [batch, actions]`, or
`[batch, actions, atoms]` where it predicts a distribution of returns. What it says of a row depends
on no other row, and it uses the weights of PyTorch's layers by calling these. To add one: write it,
add a line to NETWORKS, and its name to FOR_IMAGES if it takes images. If it has `features(obs,
task) -> [batch, numbers]`, what its last layer sees, coresets can compare rows by that. If it names
its last layers in `output_layers`, methods that are for hidden layers leave them alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from agents.layers import BFloat16Conv2d, BFloat16Linear, NoisyLinear


@dataclass(frozen=True)
class NetworkSpec:
    """What a network is built from.

    Attributes:
        shape: Shape of an observation.
        num_actions: Actions of the shared space.
        num_tasks: Tasks the agent tells apart (1 where task identity is hidden).
        atoms: Numbers predicted per action: 1, or the size of a return distribution.
        hidden: Widths of the hidden layers.
        head: `single` (one for all tasks), `per_task`, or `conditioned` (one head; the task is
            part of the input).
        dueling: Value and advantage streams (Wang et al. 2016, arXiv 1511.06581, equation 9).
            Deviation: the mean runs over all actions of the shared space.
        layer_norm: LayerNorm before each hidden activation.
        noisy: Factorised Gaussian noise in the fully connected layers (NoisyNet).
        bfloat16: Products in bfloat16 below the heads; everything else stays in float32.
    """

    shape: tuple[int, ...]
    num_actions: int
    num_tasks: int
    atoms: int = 1
    hidden: tuple[int, ...] = (64, 64)
    head: str = "per_task"
    dueling: bool = False
    layer_norm: bool = False
    noisy: bool = False
    bfloat16: bool = False

    def linear(self, inputs: int, outputs: int, bfloat16: bool = False) -> nn.Module:
        """A fully connected layer, noisy if the network is."""
        if self.noisy:
            return NoisyLinear(inputs, outputs, bfloat16)
        return (BFloat16Linear if bfloat16 else nn.Linear)(inputs, outputs)

    @property
    def context_size(self) -> int:
        """Inputs that tell the task."""
        return self.num_tasks if self.head == "conditioned" else 0


class MLP(nn.Module):
    """Fully connected layers, each followed by an optional LayerNorm and ReLU."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        sizes = [torch.Size(spec.shape).numel() + spec.context_size, *spec.hidden]
        self.layers = _dense(spec, sizes)
        self.features = sizes[-1]

    def forward(self, obs: Tensor, context: Tensor | None) -> Tensor:
        """[batch, *shape], [batch, context] -> [batch, features]."""
        return self.layers(_join(obs.flatten(1), context))


class CNN(nn.Module):
    """Convolutions, then fully connected layers.

    From 36 pixels on a side: the three layers of Mnih et al. 2015; below: one layer of 16 filters
    of 3 x 3, as in MinAtar (Young and Tian 2019, arXiv 1903.03176).
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        channels, height, width = spec.shape
        plan = [(16, 3, 1)] if min(height, width) < 36 else [(32, 8, 4), (64, 4, 2), (64, 3, 1)]
        layers: list[nn.Module] = []
        convolution = BFloat16Conv2d if spec.bfloat16 else nn.Conv2d
        for filters, kernel, stride in plan:
            layers += [convolution(channels, filters, kernel, stride), nn.ReLU()]
            channels = filters
            height, width = ((side - kernel) // stride + 1 for side in (height, width))
        self.convolutions = nn.Sequential(*layers)
        sizes = [channels * height * width + spec.context_size, *spec.hidden]
        self.layers = _dense(spec, sizes)
        self.features = sizes[-1]

    def forward(self, obs: Tensor, context: Tensor | None) -> Tensor:
        """[batch, channels, height, width], [batch, context] -> [batch, features]."""
        return self.layers(_join(self.convolutions(obs).flatten(1), context))


def _dense(spec: NetworkSpec, sizes: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers.append(spec.linear(inputs, outputs, spec.bfloat16))
        layers += [nn.LayerNorm(outputs)] if spec.layer_norm else []
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class QNetwork(nn.Module):
    """A torso with one head, a head per task, or the task as a further input."""

    output_layers = ("advantage", "value")

    def __init__(self, spec: NetworkSpec, torso: MLP | CNN) -> None:
        super().__init__()
        self.torso = torso
        self.heads = spec.num_tasks if spec.head == "per_task" else 1
        self.context_size = spec.context_size
        self.actions, self.atoms = spec.num_actions, spec.atoms
        self.advantage = spec.linear(torso.features, self.heads * spec.num_actions * spec.atoms)
        self.value = spec.linear(torso.features, self.heads * spec.atoms) if spec.dueling else None

    def forward(self, obs: Tensor, task: Tensor) -> Tensor:
        """[batch, *shape], [batch] -> [batch, actions, atoms]."""
        features = self.features(obs, task)
        outputs = self._own_head(self.advantage(features), self.actions, task)
        if self.value is None:
            return outputs
        value = self._own_head(self.value(features), 1, task)
        return value + outputs - outputs.mean(1, keepdim=True)

    def features(self, obs: Tensor, task: Tensor) -> Tensor:
        """What the last layers see: [batch, *shape], [batch] -> [batch, features]."""
        context = _one_hot(task, self.context_size, obs.dtype) if self.context_size else None
        return self.torso(obs, context)

    def _own_head(self, outputs: Tensor, actions: int, task: Tensor) -> Tensor:
        """[batch, heads * actions * atoms] -> each row's own head, [batch, actions, atoms]."""
        if self.heads == 1:
            return outputs.view(-1, actions, self.atoms)
        outputs = outputs.view(-1, self.heads, actions, self.atoms)
        own = task[:, None, None, None].expand(-1, 1, actions, self.atoms)
        return outputs.gather(1, own).squeeze(1)


class Penultimate(nn.Module):
    """A network up to its last layers, with parameters in the same order.

    Raises:
        ValueError: The network does not tell its features.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        if not hasattr(network, "features"):
            kind = type(network).__name__
            raise ValueError(f"a {kind} does not tell its features: give it features(obs, task)")
        self.network: Any = network

    def forward(self, obs: Tensor, task: Tensor) -> Tensor:
        """[batch, *shape], [batch] -> [batch, features]."""
        features: Tensor = self.network.features(obs, task)
        return features


def _join(seen: Tensor, context: Tensor | None) -> Tensor:
    return seen if context is None else torch.cat([seen, context], dim=1)


def _one_hot(task: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    return (task[:, None] == torch.arange(size, device=task.device)).to(dtype)


NETWORKS: dict[str, Callable[[NetworkSpec], nn.Module]] = {
    "mlp": lambda spec: QNetwork(spec, MLP(spec)),
    "cnn": lambda spec: QNetwork(spec, CNN(spec)),
}
FOR_IMAGES = {"cnn"}  # names of networks that take [channels, height, width]; others take vectors
