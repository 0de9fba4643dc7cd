"""All parameters of a network as one vector, so that learning rules read like their papers."""

from collections.abc import Mapping
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.func import functional_call


class FlatNetwork:
    """A network as a pure function of one vector of parameters.

    Args:
        network: An ordinary module; its own values are never used, so it may live on `meta`. Its
            buffers are inputs too: noise that is drawn anew for each call (zero: none).

    Attributes:
        size: Length of the parameter vector.
        noise_size: Length of the noise vector; 0 unless the network is noisy.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._shapes = {name: p.shape for name, p in network.named_parameters()}
        self._noise_shapes = {name: b.shape for name, b in network.named_buffers()}
        self._sizes = [shape.numel() for shape in self._shapes.values()]
        self._noise_sizes = [shape.numel() for shape in self._noise_shapes.values()]
        self.size = sum(self._sizes)
        self.noise_size = sum(self._noise_sizes)

    def __call__(self, theta: Tensor, noise: Tensor, obs: Tensor, task: Tensor) -> Tensor:
        """`network(obs, task)` with the parameters `theta` and the noise `noise`."""
        values = self.unflatten(theta)
        parts = noise.split(self._noise_sizes) if self._noise_sizes else ()
        for (name, shape), part in zip(self._noise_shapes.items(), parts, strict=True):
            values[name] = part.view(shape)
        # No weights are tied; looking for tied ones costs a third of a call.
        return functional_call(self.network, values, (obs, task), tie_weights=False)

    def unflatten(self, theta: Tensor) -> dict[str, Tensor]:
        """Views of `theta` under the network's parameter names."""
        named = zip(self._shapes.items(), theta.split(self._sizes), strict=True)
        return {name: part.view(shape) for (name, shape), part in named}

    def places(self) -> dict[str, tuple[slice, torch.Size]]:
        """Where in the vector each named parameter lies, and its shape."""
        ends = list(accumulate(self._sizes))
        named = zip(self._shapes.items(), ends, strict=True)
        return {name: (slice(end - shape.numel(), end), shape) for (name, shape), end in named}

    def flatten(self, values: Mapping[str, Tensor]) -> Tensor:
        """The vector made of named parameters."""
        return torch.cat([values[name].reshape(-1) for name in self._shapes])

    def initial(self, generator: torch.Generator) -> Tensor:
        """Freshly drawn parameters.

        Raises:
            TypeError: A module with parameters of its own that has no rule: give it a method
                `initial(generator) -> {name: tensor}`.
        """
        values: dict[str, Tensor] = {}
        for prefix, module in self.network.named_modules():
            for name, value in _initial_of(module, generator).items():
                values[f"{prefix}.{name}".lstrip(".")] = value
        return self.flatten(values)


def _initial_of(module: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    own = {name: p.shape for name, p in module.named_parameters(recurse=False)}
    if not own:
        return {}
    rule = getattr(module, "initial", None)
    if callable(rule):
        return dict(rule(generator))
    if isinstance(module, nn.Linear | nn.Conv2d):
        bound = module.weight[0].numel() ** -0.5  # PyTorch's default for both: 1 / sqrt(fan in)
        return {name: _uniform(shape, bound, generator) for name, shape in own.items()}
    if isinstance(module, nn.LayerNorm):
        return {"weight": torch.ones(own["weight"]), "bias": torch.zeros(own["bias"])}
    kind = type(module).__name__
    raise TypeError(f"no rule draws the weights of {kind}: give it initial(generator)")


def _uniform(shape: torch.Size, bound: float, generator: torch.Generator) -> Tensor:
    return (2 * torch.rand(shape, generator=generator) - 1) * bound
