"""A graph rewritten for the compiler computes the same, in the form that compiles well."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from agents.rewrites import KEEP, PRODUCTS, SHORT, TERMS, rewrite

aten = torch.ops.aten
GENERATOR = torch.Generator().manual_seed(0)
X, W = (torch.randn(32, 24, generator=GENERATOR) for _ in range(2))
BIAS, NARROW = torch.randn(32, generator=GENERATOR), torch.randn(24, 2, generator=GENERATOR)
MEMBERS = X.expand(3, 32, 24)
CUBE = torch.randn(24, 24, 24, generator=GENERATOR)
LONG = torch.randn(5000, generator=GENERATOR)


def rewritten(function, *tensors):
    graph = make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*tensors)
    rewrite(graph)
    return graph, [node for node in graph.graph.nodes if node.op == "call_function"]


def shapes_of_products(nodes):
    return [tuple(node.meta["val"].shape[-2:]) for node in nodes if node.target in PRODUCTS]


@pytest.mark.parametrize(
    ("function", "tensors"),
    [
        (lambda x, w, b: torch.addmm(b, x, w.t()).relu(), (X, W, BIAS)),
        (lambda x, w, b: torch.addmm(b, x, w.t(), beta=0.5), (X, W, BIAS)),
        (lambda x, w: (x.t() @ w).t().reshape(-1), (X, W)),
        (lambda x, w: (x @ w.t(), (x @ w.t()).t()), (X, W)),
        (lambda x, v: (x @ v).view(-1), (X, NARROW)),
        (lambda x, v: (x @ v).t() + 1, (X, NARROW)),
        (lambda v, x: v.t() @ x.t(), (NARROW, X)),
        (lambda m: torch.bmm(m, m.mT)[0], (MEMBERS,)),
        (lambda m: torch.bmm(m.mT, m).mT.reshape(3, -1), (MEMBERS,)),
        (lambda m, v: torch.bmm(m, v.expand(3, 24, 2)).view(-1), (MEMBERS, NARROW)),
        (lambda x, b: x * b.norm() + x / b.sum(), (LONG, BIAS)),
        (lambda x, b: (x.expand(32, 5000) * b.exp()[:, None], b.exp()), (LONG, BIAS)),
        (lambda q, v: torch.bmm(q.transpose(0, 1), v) + 1, (CUBE, CUBE[:, :, :2])),
        (lambda q, v: torch.bmm(q, v).transpose(0, 1) + 1, (CUBE, CUBE[:, :, :2])),
        (lambda q, v: torch.bmm(q, v).transpose(-1, 1) + 1, (CUBE, CUBE)),
        (lambda x, w, b: torch.addmm(b[:24], x[:, :3], w[:24, :3].t()).relu(), (X, W, BIAS)),
        (lambda v, x: v @ v.t() @ x, (NARROW, W[:24])),
        (lambda m: torch.bmm(m[:, :, :1], m[:, :1]).mT.reshape(3, -1), (MEMBERS,)),
        (lambda x: x + 1, (X,)),
        (lambda x, w: ((x.t() @ w).t() * 2).t().view(-1), (X, W)),
        (lambda x, w: ((x.t() @ w).t() + x[:24].t()).t().view(-1), (X, W)),
    ],
)
def test_a_rewritten_graph_computes_the_same(function, tensors):
    graph, _ = rewritten(function, *tensors)
    torch.testing.assert_close(graph(*tensors), function(*tensors), check_stride=False)


def test_a_bias_is_added_by_itself():
    nodes = rewritten(lambda x, w, b: torch.addmm(b, x, w.t()), X, W, BIAS)[1]
    targets = [node.target for node in nodes]
    assert aten.addmm.default not in targets
    assert targets[-3:] == [aten.mm.default, KEEP, aten.add.Tensor]


def test_what_is_used_transposed_is_made_transposed():
    nodes = rewritten(lambda x, w: (x.t() @ w).t().reshape(-1), torch.cat([X, X], 1), W)[1]
    assert shapes_of_products(nodes) == [(24, 48)]
    assert aten.t.default not in [node.target for node in nodes[-2:]]


def test_a_product_used_both_ways_stays():
    def both(x, w):
        product = x @ w.t()
        return product + 1, product.t() + 2

    assert shapes_of_products(rewritten(both, X, W[:20])[1]) == [(32, 20)]


@pytest.mark.parametrize("columns", [1, 2, SHORT - 1])
def test_a_product_has_long_rows_rather_than_short_ones(columns):
    v = torch.zeros(24, columns)
    assert shapes_of_products(rewritten(lambda x, v: x @ v, X, v)[1]) == [(columns, 32)]
    used_transposed = rewritten(lambda x, v: (v.t() @ x.t()).t() + 1, X, v)[1]
    assert shapes_of_products(used_transposed) == [(columns, 32)]


@pytest.mark.parametrize("terms", [1, 2, TERMS])
def test_a_product_of_few_terms_is_written_out(terms):
    def linear(x, w, b):
        return torch.addmm(b, x, w.t()).relu(), torch.bmm(x[None], w.t()[None])

    nodes = rewritten(linear, X[:, :terms], W[:, :terms], BIAS)[1]
    assert shapes_of_products(nodes) == []
    between = [node.args[0].target for node in nodes if node.target is KEEP]
    assert between == [aten.clone.default] * 2  # rows made long; what they make is not kept


def test_a_product_of_more_terms_is_left_to_the_library():
    nodes = rewritten(lambda x, w: x @ w.t(), X[:, : TERMS + 1], W[:, : TERMS + 1])[1]
    assert shapes_of_products(nodes) == [(32, 32)]


def test_a_product_that_would_lie_otherwise_in_memory_is_left_to_the_library():
    few = CUBE[:, :, :TERMS]
    nodes = rewritten(lambda q, v: torch.bmm(q.transpose(0, 1), v), few, CUBE[:, :TERMS])[1]
    assert shapes_of_products(nodes) == [(24, 24)]


def test_few_numbers_that_scale_many_are_kept():
    nodes = rewritten(lambda x, b: x.expand(32, 5000) * b.exp()[:, None], LONG, BIAS)[1]
    kept = [node.args[0].target for node in nodes if node.target is KEEP]
    assert kept == [aten.exp.default]


def test_one_number_that_scales_many_is_kept():
    nodes = rewritten(lambda x, b: x * b.norm(), LONG, BIAS)[1]
    assert [node.target for node in nodes][-3:-1] == [aten.stack.default, aten.select.int]


def test_many_numbers_and_those_that_scale_few_are_not_kept():
    nodes = rewritten(lambda x, b: (x.exp() * 2, b * b.norm()), LONG, BIAS)[1]
    assert not any(node.target in (KEEP, aten.stack.default) for node in nodes)
