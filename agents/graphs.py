"""Recorded graphs made shorter: views that nothing needs, and operations done twice, are left out.

Tracing a function of one member under `vmap`, with its gradient, leaves many operations that
compute nothing: a dimension added and taken away again, a transpose of a transpose, the same view
twice. Replaying each costs about what a small product costs. All that is done here leaves every
number as it was, bit for bit.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.fx.passes.dialect.common.cse_pass import CSEPass, get_CSE_banned_ops

aten = torch.ops.aten
Place = tuple[int, str]  # a tensor in a tuple of trees: which tree, and its name there
Rule = Callable[[Node], Any]  # the node that stands for the given one, or None


def shorten(graph: GraphModule) -> GraphModule:
    """The same graph with fewer operations.

    Args:
        graph: Functional: no operation of it writes into its inputs or draws random numbers.
    """
    changed = True
    while changed:
        changed = _follow(graph)
        once = CSEPass(get_CSE_banned_ops())(graph)
        assert once is not None
        graph, changed = once.graph_module, changed or once.modified
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def prune(graph: GraphModule, places: list[Place]) -> tuple[list[Place], list[Place], list[int]]:
    """Takes unused inputs, unused operations and results that are inputs out of a graph.

    Args:
        graph: Changed in place.
        places: Where its inputs are from.

    Returns:
        Where the inputs left are from; where results that were inputs are from; and for each former
        result its number among the results left followed by these.
    """
    place_of = dict(
        zip((n for n in graph.graph.nodes if n.op == "placeholder"), places, strict=True)
    )
    output = next(node for node in graph.graph.nodes if node.op == "output")
    ends: list[Node] = list(output.args[0])
    computed = [node for node in ends if node not in place_of]
    unchanged = [node for node in ends if node in place_of]
    output.args = (computed,)
    graph.graph.eliminate_dead_code()
    inputs = [node for node in place_of if node.users]
    for node in place_of.keys() - set(inputs):
        graph.graph.erase_node(node)
    graph.recompile()
    numbers = iter(range(len(computed))), iter(range(len(computed), len(ends)))
    order = [next(numbers[node in place_of]) for node in ends]
    return [place_of[n] for n in inputs], [place_of[n] for n in unchanged], order


def _follow(graph: GraphModule) -> bool:
    """Replaces each operation that computes nothing by its input; whether there was one."""
    changed = False
    constants: dict[Any, Node] = {}
    for node in graph.graph.nodes:
        same = constants.setdefault(node.target, node) if node.op == "get_attr" else None
        if node.op == "call_function" and node.target in RULES:
            same = RULES[node.target](node)
        if same is not None and same is not node:
            node.replace_all_uses_with(same)
            changed = True
        if node.target in BY_NUMBER and not isinstance(node.args[1], Node):
            node.target = BY_NUMBER[node.target]
    graph.graph.eliminate_dead_code()
    return changed


def _shape(node: Any) -> torch.Size:
    shape: torch.Size = node.meta["val"].shape
    return shape


def _source(node: Any, target: Any) -> Any:
    """What `target` was applied to, if the node is that; else None."""
    made = isinstance(node, Node) and node.op == "call_function" and node.target is target
    return node.args[0] if made else None


def _dim(node: Any, of: Any) -> int:
    """The dimension that a node names, counted from the first one of the tensor `of`."""
    dim = node.args[1]
    assert isinstance(dim, int)
    return dim % len(_shape(of))


def _view(node: Node) -> Any:
    """The tensor that is viewed, if the view has the same shape."""
    return node.args[0] if _shape(node) == _shape(node.args[0]) else None


def _transpose(node: Node) -> Any:
    return _source(node.args[0], aten.t.default)


def _select(node: Node) -> Any:
    """The tensor before a dimension was added, where the only entry of that one is selected."""
    of: Any = node.args[0]
    if of.target is aten.select_backward.default and of.args[2:] == node.args[1:]:
        return of.args[0]
    inner = _source(of, aten.unsqueeze.default)
    return None if inner is None or _dim(node, of) != _dim(of, of) else inner


def _unsqueeze(node: Node) -> Any:
    """The tensor before an entry of a dimension was selected, if it had only that one."""
    of = node.args[0]
    inner = _source(of, aten.select.int)
    if inner is None or _shape(inner) != _shape(node):
        return None
    return inner if _dim(node, node) == _dim(of, inner) else None


# Replayed, a number in a tensor's place is a tensor that is converted at every call.
BY_NUMBER = {
    aten.add.Tensor: aten.add.Scalar,
    aten.sub.Tensor: aten.sub.Scalar,
    aten.mul.Tensor: aten.mul.Scalar,
    aten.div.Tensor: aten.div.Scalar,
}
RULES: dict[Any, Rule] = {
    aten.detach.default: _view,
    aten.view.default: _view,
    aten.expand.default: _view,
    aten.t.default: _transpose,
    aten.select.int: _select,
    aten.squeeze.dim: _select,
    aten.unsqueeze.default: _unsqueeze,
}
