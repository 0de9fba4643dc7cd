"""Operators of our own: numerics that neither `vmap` nor a recording can look into."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch._library.custom_ops import CustomOpDef


def accept_members(operator: "CustomOpDef") -> None:
    """Lets an operator be mapped over members and be recorded.

    Args:
        operator: Made by `torch.library.custom_op`. It takes tensors with any number of leading
            axes, the same for all, and then other things; its result is of the form of the first.
    """

    @operator.register_fake
    def _(first: Tensor, *rest: Any) -> Tensor:
        return torch.empty_like(first)

    @operator.register_vmap
    def _(info: Any, in_dims: tuple[int | None, ...], *given: Any) -> tuple[Tensor, int]:
        pairs = zip(given, in_dims, strict=True)
        members = [_members_first(each, dim, info.batch_size) for each, dim in pairs]
        result: Tensor = operator(*members)
        return result, 0


def _members_first(given: Any, dim: int | None, members: int) -> Any:
    if not isinstance(given, Tensor):
        return given
    return given.expand(members, *given.shape) if dim is None else given.movedim(dim, 0)
