"""Compiled functions: one graph in place of a hundred small operations.

On small networks an update is dispatch, not arithmetic. `torch.compile` turns the whole step
(forward passes, gradient, clipping, Adam, target, the methods' terms) into one piece of C++.
"""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

LOG = logging.getLogger("retain")


class Compiled:
    """A pure function of tensors, compiled at its first call; where that fails, it runs as it is.

    Args:
        function: Writes into none of its arguments, so that a failed call can be made again.
        what: Its name in the one line that says that it could not be compiled.
    """

    def __init__(self, function: Callable[..., Any], what: str) -> None:
        self._plain, self._what = function, what
        self._function = torch.compile(
            function, fullgraph=True, dynamic=False, options={"cpp_wrapper": True}
        )

    def __call__(self, *arguments: Any) -> Any:
        """What the function returns."""
        try:
            with torch.no_grad():
                return self._function(*arguments)
        except TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            LOG.warning("%s cannot be compiled and runs eagerly: %s", self._what, reason)
            self._function = self._plain
            return self._plain(*arguments)


def missing_compiler() -> str | None:
    """Why nothing can be compiled here, in a few words; None where a C++ compiler is found."""
    try:
        from torch._inductor.cpp_builder import get_cpp_compiler

        get_cpp_compiler()
    except Exception as error:  # what it raises differs between versions of PyTorch
        return str(error).strip().splitlines()[0] or type(error).__name__
    return None


def gradient_of(
    function: Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]], theta: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The gradient of a function's first result, and its second one, without their history."""
    if torch.compiler.is_compiling():  # The only form it traces; run eagerly it is slower.
        gradient, (_, info) = torch.func.grad_and_value(function, has_aux=True)(theta)
        return gradient, info
    theta = theta.detach().requires_grad_()
    with torch.enable_grad():
        value, info = function(theta)
        (gradient,) = torch.autograd.grad(value, theta)
    return gradient, {name: tensor.detach() for name, tensor in info.items()}
