"""Independent members side by side: functions of one member, applied to all of them at once."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap


def each_member(function: Callable[..., Any], members: int) -> Callable[..., Any]:
    """`function` of one member's tensors as a function of tensors with a leading axis of members.

    One member needs no `vmap`: its axis is dropped and put back, which is faster and exact.
    """
    if members > 1:
        return vmap(function)

    def alone(*trees: Any) -> Any:
        whole: dict[Tensor, Tensor] = {}

        def one(tensor: Tensor) -> Tensor:
            part = tensor[0]
            whole[part] = tensor
            return part

        def every(part: Tensor) -> Tensor:
            return whole[part] if part in whole else part[None]

        # The trees given to the function keep alive what `whole` is asked for.
        return _map(every, function(*(_map(one, tree) for tree in trees)))

    return alone


def stack(trees: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Members' states as one state with a leading axis of members."""
    return {name: torch.stack([tree[name] for tree in trees]) for name in trees[0]}


def member_of(tree: Mapping[str, Tensor], member: int) -> dict[str, Tensor]:
    """One member's part of a state or a batch, as views."""
    return {name: tensor[member] for name, tensor in tree.items()}


def _map(function: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """Applies a function to every tensor of nested dicts and tuples."""
    if isinstance(tree, dict):
        return {name: _map(function, value) for name, value in tree.items()}
    if isinstance(tree, tuple):
        return tuple(_map(function, value) for value in tree)
    return function(tree)
