"""Recorded graphs rewritten before they are compiled: faster C++, other last bits at most.

Inductor keeps the form in which a gradient was written down: a matrix is multiplied and afterwards
transposed one element at a time, and a scalar that scales a vector is computed again for every part
of it. On a small network that takes longer than the products do.
"""

from typing import Any

import torch
import torch._inductor.inductor_prims  # declares what KEEP is
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

aten = torch.ops.aten
KEEP = torch.ops.prims.inductor_force_stride_order.default  # a tensor in memory of its own
PRODUCTS = (aten.mm.default, aten.bmm.default)
VIEWS = (aten.view.default, aten._unsafe_view.default)
SHORT = 16  # numbers of a row; a product into shorter ones takes up to seven times as long
TERMS = 8  # of each number of a product that is written out: less than calling for it takes
FEW = 256  # numbers that are computed once and kept rather than computed beside each use


def rewrite(graph: GraphModule) -> None:
    """Rewrites a recorded graph in place."""
    for node in list(graph.graph.nodes):
        if node.target is aten.addmm.default and not node.kwargs:
            _split_bias(graph.graph, node)
    for node in list(graph.graph.nodes):
        if node.target in PRODUCTS and _has_few_terms(node):
            _write_out(graph.graph, node)
    for node in list(graph.graph.nodes):
        if node.target in PRODUCTS and _is_better_transposed(node):
            _transpose_product(graph.graph, node)
        if node.target in VIEWS:  # the tensor that is viewed may now have other strides
            node.target = aten.reshape.default
    for node in list(graph.graph.nodes):
        if _is_few(node) and any(_is_many(user) for user in _users(node)):
            _compute_once(graph.graph, node)
    graph.graph.eliminate_dead_code()
    graph.recompile()


def _split_bias(graph: Graph, node: Node) -> None:
    """Splits off a product's bias: inductor then adds it in the operation that follows.

    Inductor would join the two again, were the product not kept.
    """
    bias, *factors = node.args
    with graph.inserting_before(node):
        product = _call(graph, aten.mm.default, *factors)
        kept = _call(graph, KEEP, product, product.meta["val"].stride())
        node.replace_all_uses_with(_call(graph, aten.add.Tensor, kept, bias))


def _has_few_terms(product: Node) -> bool:
    return 0 < _value(product.args[0]).shape[-1] <= TERMS


def _write_out(graph: Graph, product: Node) -> None:
    """Writes a product out as a sum of a few columns times rows, which inductor fuses."""
    left, right = product.args
    with graph.inserting_before(product):
        if _value(right).stride(-1) != 1:  # rows that are read again and again, in one piece each
            right = _contiguous(graph, right)
            right = _call(graph, KEEP, right, right.meta["val"].stride())
        made = _term(graph, left, right, 0)
        for k in range(1, _value(left).shape[-1]):
            made = _call(graph, aten.add.Tensor, made, _term(graph, left, right, k))
    if made.meta["val"].stride() != _value(product).stride():
        return  # views of the product may rely on its strides
    for user in list(product.users):
        if user.target is KEEP:
            user.replace_all_uses_with(made)
    product.replace_all_uses_with(made)


def _term(graph: Graph, left: Any, right: Any, k: int) -> Node:
    """Column k of a matrix, or of each member's, times row k of another."""
    column = _call(graph, aten.slice.Tensor, left, -1, k, k + 1)
    return _call(
        graph, aten.mul.Tensor, column, _call(graph, aten.slice.Tensor, right, -2, k, k + 1)
    )


def _is_better_transposed(product: Node) -> bool:
    """Whether to compute the transposed product: its rows are longer, or only it is used."""
    rows, columns = product.meta["val"].shape[-2:]
    if min(rows, columns) < SHORT:
        return bool(columns < rows)
    return all(map(_is_transpose, product.users))


def _transpose_product(graph: Graph, product: Node) -> None:
    """Makes `a @ b` the transpose of `b.T @ a.T`."""
    with graph.inserting_before(product):
        right, left = (_transposed(graph, factor) for factor in product.args)
        made = _call(graph, product.target, left, right)
        back = _contiguous(graph, _transposed(graph, made))
    for user in list(product.users):
        if _is_transpose(user):
            user.replace_all_uses_with(made)
    product.replace_all_uses_with(back)


def _transposed(graph: Graph, matrix: Any) -> Node:
    """The transpose of a matrix or of each member's; of a transpose, what that was made of."""
    if _is_transpose(matrix):
        source: Node = matrix.args[0]
        return source
    return _call(graph, aten.transpose.int, matrix, -2, -1)


def _is_transpose(node: Node) -> bool:
    """Whether this is the transpose of a matrix, or of each member's."""
    if node.target is not aten.transpose.int:
        return node.target is aten.t.default
    dims = node.meta["val"].dim()
    return {dim % dims for dim in node.args[1:]} == {dims - 2, dims - 1}


def _is_few(node: Node) -> bool:
    value = node.meta.get("val")
    small = isinstance(value, Tensor) and value.numel() <= FEW
    return small and node.op == "call_function" and not _is_view(node)


def _is_many(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.numel() > 8 * FEW


def _is_view(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is None or any(result.alias_info for result in schema.returns)


def _users(node: Node) -> list[Node]:
    """Operations that use a tensor, directly or through a view of it."""
    found: list[Node] = []
    for user in node.users:
        found += _users(user) if _is_view(user) else [user]
    return found


def _compute_once(graph: Graph, node: Node) -> None:
    """Makes inductor compute a tensor once and keep it, in place of once for each use."""
    with graph.inserting_after(node):
        if node.meta["val"].numel() > 1:
            kept = made = _call(graph, KEEP, node, node.meta["val"].stride())
        else:  # what is kept for nothing else is a tensor made of several
            made = _call(graph, aten.stack.default, [node, node])
            with graph.inserting_after(made):
                kept = _call(graph, aten.select.int, made, 0, 0)
    node.replace_all_uses_with(kept, delete_user_cb=lambda user: user is not made)


def _contiguous(graph: Graph, matrix: Any) -> Node:
    """The matrix as a contiguous copy."""
    copy = _call(graph, aten.clone.default, matrix)
    copy.kwargs = {"memory_format": torch.contiguous_format}
    copy.meta["val"] = copy.meta["val"].contiguous()
    return copy


def _value(node: Any) -> Tensor:
    """What an operation gives, without its numbers."""
    value: Tensor = node.meta["val"]
    return value


def _call(graph: Graph, target: Any, *args: Any) -> Node:
    """A new operation with what it gives, which inductor and the rules above look at."""
    node = graph.call_function(target, args)
    known = torch.fx.node.map_arg(args, lambda each: each.meta["val"])
    node.meta["val"] = known[0] if target is KEEP else target(*known)
    return node
