"""Gradients of several weighted sums of a batch's losses, from one backward pass.

Rows do not act on each other: what a layer's outputs are to a row's loss (its delta) is the same
whatever weights the rows have. Only the sums over rows, which are the gradients of the parameters,
differ. So the backward pass is made once, and then one product for each layer makes its gradients
of all sums. A network with layers that `RULES` does not know, or that uses them in another way, has
a backward pass for each sum.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from agents.flat import FlatNetwork
from agents.layers import BFloat16Linear, NoisyLinear, squashed

Named = dict[str, Tensor]
Layer = Callable[[Tensor, Tensor], Named]  # (delta, weights) -> gradients of its parameters
Inputs = tuple[Tensor, ...]
See = Callable[[str, nn.Module, Inputs, Tensor], Any]  # (name, layer, inputs, output)


def weighted_gradients(
    network: FlatNetwork, losses: Callable[[Tensor], Tensor], theta: Tensor, weights: Tensor
) -> Tensor:
    """Gradients of weighted sums of the rows' losses, [sums, parameters].

    Args:
        network: What `losses` calls, once.
        losses: `losses(theta) -> [n]`, of each row; none depends on another row.
        theta: Parameters.
        weights: Weight of each row in each sum, [sums, n].
    """
    sums, rows = weights.shape
    if sums > 1 and (layers := _layers_met(network, lambda: losses(theta), rows)):
        return _from_deltas(network, lambda: losses(theta), layers, weights)
    _, backward, *_ = torch.func.vjp(losses, theta)
    if sums == 1:
        return backward(weights[0])[0][None]
    return torch.func.vmap(lambda own: backward(own)[0])(weights)


def _from_deltas(
    network: FlatNetwork,
    losses: Callable[[], Tensor],
    layers: dict[str, tuple[Layer, Tensor]],
    weights: Tensor,
) -> Tensor:
    taps = {name: torch.zeros_like(output) for name, (_, output) in layers.items()}

    def tapped(taps: Named) -> Tensor:
        def tap(name: str, module: nn.Module, given: Inputs, output: Tensor) -> Any:
            return _Tap.apply(output, taps[name])  # type: ignore[no-untyped-call]

        with _watched(network.network, tap):
            return losses()

    rows, backward, *_ = torch.func.vjp(tapped, taps)
    (deltas,) = backward(torch.ones_like(rows))
    found = {
        f"{name}.{parameter}": gradient.flatten(1)
        for name, (layer, _) in layers.items()
        for parameter, gradient in layer(deltas[name], weights).items()
    }
    return torch.cat([found[name] for name in network.places()], 1)


class _Tap(torch.autograd.Function):
    """The first argument as it is; the gradient goes to both, as if the second were added."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, tap: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is needed on the way back."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient, gradient


def _layers_met(
    network: FlatNetwork, call: Callable[[], Any], rows: int
) -> dict[str, tuple[Layer, Tensor]]:
    """Each layer's rule and outputs in a call; none if a rule does not hold, or of several calls.

    A rule holds for a layer without hooks that sees one vector of each row.
    """
    if not all(_has_rule(module) for _, module in _with_parameters(network.network)):
        return {}
    met: list[str] = []
    layers = {}

    def note(name: str, module: nn.Module, given: Inputs, output: Tensor) -> None:
        met.append(name)
        if [x.shape[:-1] for x in given] == [(rows,)]:
            layers[name] = RULES[type(module)](module, given[0]), output

    with _watched(network.network, note):
        call()
    once = sorted(met) == sorted(name for name, _ in _with_parameters(network.network))
    return layers if once and len(layers) == len(met) else {}


def _has_rule(module: nn.Module) -> bool:
    hooked = module._forward_hooks or module._forward_pre_hooks
    return type(module) in RULES and not hooked


@contextmanager
def _watched(network: nn.Module, see: See) -> Iterator[None]:
    """Shows each layer's name, itself, its inputs and its output; may change the output."""

    def hook(name: str) -> Any:
        return lambda module, given, output: see(name, module, given, output)

    layers = _with_parameters(network)
    handles = [module.register_forward_hook(hook(name)) for name, module in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _with_parameters(network: nn.Module) -> list[tuple[str, nn.Module]]:
    named = network.named_modules()
    return [(name, module) for name, module in named if module._parameters]


def _linear(module: Any, x: Tensor) -> Layer:
    def gradients(delta: Tensor, weights: Tensor) -> Named:
        return {"weight": _outer(delta, x, weights), "bias": weights @ delta}

    return gradients


def _noisy(module: Any, x: Tensor) -> Layer:
    into, out = squashed(module.noise_in), squashed(module.noise_out)

    def gradients(delta: Tensor, weights: Tensor) -> Named:
        weight, bias = _outer(delta, x, weights), weights @ delta
        noisy = {"weight_sigma": weight * (out[:, None] * into), "bias_sigma": bias * out}
        return {"weight": weight, "bias": bias} | noisy

    return gradients


def _layer_norm(module: Any, x: Tensor) -> Layer:
    normal = nn.functional.layer_norm(x, module.normalized_shape, eps=module.eps)

    def gradients(delta: Tensor, weights: Tensor) -> Named:
        return {"weight": weights @ (delta * normal), "bias": weights @ delta}

    return gradients


def _outer(delta: Tensor, x: Tensor, weights: Tensor) -> Tensor:
    """Each sum over rows of weight * (delta x^T), [sums, outputs, inputs].

    The narrower side is weighed for all sums, so that one product of few long columns does.
    """
    weighed, other = (delta, x) if delta.shape[1] <= x.shape[1] else (x, delta)
    left = weights.T[:, :, None] * weighed[:, None]  # [n, sums, narrow]
    found = (left.flatten(1).T @ other).unflatten(0, left.shape[1:])
    return found if weighed is delta else found.transpose(1, 2)


RULES: dict[type[nn.Module], Callable[[Any, Tensor], Layer]] = {
    nn.Linear: _linear,
    BFloat16Linear: _linear,
    NoisyLinear: _noisy,
    nn.LayerNorm: _layer_norm,
}
