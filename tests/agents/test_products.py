"""Large products handed to oneDNN are the same products."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from agents import products
from agents.compiling import Recorded
from agents.rewrites import rewrite

X, W, BIAS = torch.randn(3, 5), torch.randn(4, 5), torch.randn(4)
FUNCTIONS = [
    lambda x, w, bias: torch.addmm(bias, x, w.t()),
    lambda x, w, bias: x @ w.t(),
    lambda x, w, bias: (x.t() @ x, w.t() @ w),
    lambda x, w, bias: torch.bmm(x.expand(2, 3, 5), w.t().expand(2, 5, 4)),
]


@pytest.fixture
def every_product(monkeypatch):
    """As on a processor where each product is to be handed over."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("PyTorch without oneDNN")
    monkeypatch.setattr(products, "LARGE", 1)
    monkeypatch.setattr(products, "mkl_is_slow", lambda: True)


def handed_over(function, *tensors):
    graph = make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*tensors)
    products.hand_over(graph)
    return graph, [n for n in graph.graph.nodes if n.target is torch.ops.retain.product.default]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_product_of_onednn_is_that_of_pytorch(every_product, function):
    graph, nodes = handed_over(function, X, W, BIAS)
    assert nodes
    torch.testing.assert_close(graph(X, W, BIAS), function(X, W, BIAS))


def test_small_products_double_precision_and_other_scales_stay(every_product, monkeypatch):
    assert not handed_over(lambda x: x @ x.t(), X.double())[1]
    assert not handed_over(lambda b, x, w: torch.addmm(b, x, w.t(), beta=0.5), BIAS, X, W)[1]
    monkeypatch.setattr(products, "LARGE", 61)
    assert not handed_over(FUNCTIONS[0], X, W, BIAS)[1]


@pytest.mark.parametrize(
    "function", [lambda x, w: (x @ w.t()) @ w, lambda x, w: x.t() @ (x @ w.t())]
)
def test_what_is_handed_over_can_be_rewritten_after_it(every_product, function):
    graph, nodes = handed_over(function, X, W)
    rewrite(graph)
    assert nodes
    torch.testing.assert_close(graph(X, W), function(X, W))


def test_on_other_processors_nothing_is_handed_over(monkeypatch):
    monkeypatch.setattr(products, "LARGE", 1)
    monkeypatch.setattr(products, "mkl_is_slow", lambda: False)
    assert not handed_over(FUNCTIONS[0], X, W, BIAS)[1]


@pytest.mark.parametrize(
    ("vendor", "family", "computes_whole"),
    [("AuthenticAMD", 26, True), ("AuthenticAMD", 25, False), ("GenuineIntel", 26, False)],
)
def test_amds_processors_compute_whole_registers_from_zen_5_on(vendor, family, computes_whole):
    text = f"vendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: 17\n"
    assert products.is_zen_5(text) is computes_whole
    assert not products.is_zen_5("")


@pytest.mark.slow
@pytest.mark.compiler
def test_compiled_agents_learn_the_same_with_it(every_product, agent, rows, learn, caplog):
    pair = [agent((0, 1)) for _ in range(2)]
    pair[0].compile()
    for step in range(50):
        for each in pair:
            learn(each, rows((step, step + 90)))
    torch.testing.assert_close(pair[0].state["theta"], pair[1].state["theta"], rtol=1e-3, atol=1e-4)
    assert not [record for record in caplog.records if record.name == "retain"]


def test_a_function_with_it_can_be_recorded(every_product):
    run = Recorded(lambda tree: ({"y": tree["x"] @ tree["w"].t()},), "the product")
    for _ in range(60):
        assert torch.equal(run({"x": X, "w": W})[0]["y"], X @ W.t())
