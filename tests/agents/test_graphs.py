"""A shortened graph computes the same bits with fewer operations."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from agents.graphs import shorten


def recorded(function, *tensors):
    return make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*tensors)


def operations(graph):
    return [node.target for node in graph.graph.nodes if node.op == "call_function"]


X = torch.arange(6.0).reshape(2, 3)
ONE = torch.arange(3.0)[None]


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (lambda x: x.unsqueeze(0)[0], X),
        (lambda x: x.unsqueeze(-1).select(-1, 0), X),
        (lambda x: x.unsqueeze(1).squeeze(1), X),
        (lambda x: x[0].unsqueeze(0), ONE),
        (lambda x: x.t().t(), X),
        (lambda x: x.detach().view(2, 3).expand(2, 3), X),
        (lambda x: x.unsqueeze(0).unsqueeze(0)[0][0], X),
        (lambda x: torch.ops.aten.select_backward(x, [4, 2, 3], 0, 1)[1], X),
    ],
)
def test_what_computes_nothing_is_left_out(function, x):
    graph = shorten(recorded(lambda x: function(x) + 1, x))
    assert len(operations(graph)) == 1
    assert torch.equal(graph(x), function(x) + 1)


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (lambda x: x[0].unsqueeze(0), X),  # one of two rows
        (lambda x: x.unsqueeze(0).select(1, 0), X),  # another dimension than was added
        (lambda x: x.unsqueeze(0).squeeze(1), ONE),
        (lambda x: x[0].unsqueeze(1), ONE),
        (lambda x: torch.ops.aten.select_backward(x, [4, 2, 3], 0, 1)[2], X),
        (lambda x: torch.ops.aten.select_backward(x, [2, 2, 3], 0, 1)[:, 1], X),
        (lambda x: x.t(), X),
        (lambda x: x.view(3, 2), X),
        (lambda x: x.expand(2, 3), ONE),
    ],
)
def test_what_does_something_stays(function, x):
    graph = shorten(recorded(lambda x: function(x) + 1, x))
    assert torch.equal(graph(x), function(x) + 1)
    assert graph(x).shape == function(x).shape


def test_what_is_computed_twice_is_computed_once():
    held = torch.tensor([2.0, 3.0, 4.0])
    graph = shorten(recorded(lambda x: (x * held).exp() + (x * held).exp(), X))
    assert len(operations(graph)) == 3
    assert torch.equal(graph(X), 2 * (X * held).exp())


def test_a_number_stays_the_number_it_was():
    graph = shorten(recorded(lambda x: (x * 3 + 0.1) / 7 - 1, X))
    assert torch.equal(graph(X), (X * 3 + 0.1) / 7 - 1)
    assert not [target for target in operations(graph) if target._overloadname == "Tensor"]
