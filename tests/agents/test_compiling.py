"""Compiled, an agent learns the same in one graph; what cannot be compiled runs eagerly."""

import itertools

import numpy as np
import pytest
import torch
from torch._dynamo.exc import TorchDynamoException

from agents.compiling import Compiled, gradient_of, missing_compiler
from agents.methods import METHODS
from agents.networks import NETWORKS

SHAPES = {"mlp": (3,), "cnn": (2, 5, 5)}
EVERYTHING = {
    "head": "per_task",
    "dueling": True,
    "layer_norm": True,
    "noisy": True,
    "distribution": "quantiles",
    "normalize_observations": True,
    "scale_rewards": True,
}
slow = pytest.mark.slow

pytestmark = pytest.mark.skipif(missing_compiler() is not None, reason="no C++ compiler")


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    """PyTorch keeps eight graphs of a function, and raises where a process needs one more."""
    torch._dynamo.reset()


def learn_twice(agent, rows, learn, updates, **changed):
    """Two agents alike but that one is compiled, after a task's end and the same updates."""
    seeds, shape = changed.pop("seeds", (0,)), SHAPES[changed.get("network", "mlp")]
    pair = [agent(seeds, shape=shape, **changed) for _ in range(2)]
    pair[0].compile()
    for each in pair:  # what is kept of an ended task is then in the graph
        each.end_task(rows([50 + s for s in seeds], n=16, shape=shape, task=0))
        each.start_task(1, reset_optimizer=False)
    data = [rows([100 * part + s for s in seeds], shape=shape) for part in range(8)]
    infos = []
    for update in range(updates):
        infos = [learn(each, data[update % 8], lr=1e-4) for each in pair]
    return pair, infos


def assert_close(pair, infos):
    for name, value in pair[1].state.items():
        np.testing.assert_allclose(pair[0].state[name], value, rtol=1e-3, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(infos[0][0], infos[1][0], rtol=1e-3, atol=1e-4)
    assert infos[0][1].keys() == infos[1][1].keys()


@pytest.mark.parametrize(
    ("network", "methods"),
    [
        pytest.param(*pair, marks=[] if pair == ("mlp", "distill") else slow)
        for pair in itertools.product(NETWORKS, [*METHODS, "none"])
    ],
)
def test_hundreds_of_compiled_updates_end_where_eager_ones_do(agent, rows, learn, network, methods):
    # Not more: two eager agents that differ in the last bit part too where a choice between two
    # nearly equal values falls the other way, as after 600 updates of cnn and agem.
    pair, infos = learn_twice(agent, rows, learn, 500, network=network, methods=methods)
    assert not torch.equal(pair[1].state["theta"], agent(shape=SHAPES[network]).state["theta"])
    assert_close(pair, infos)


@slow
@pytest.mark.parametrize("changed", [{}, EVERYTHING], ids=["textbook", "everything"])
def test_compiled_members_learn_what_eager_ones_do(agent, rows, learn, changed):
    pair, infos = learn_twice(agent, rows, learn, 100, seeds=(0, 1, 2), **changed)
    assert_close(pair, infos)


def test_one_graph_serves_every_minibatch_step_size_and_task(agent, rows):
    compiled = agent(methods="distill", head="per_task")
    compiled.compile()
    weight = np.ones((1, 16), np.float32)
    compiled.update(rows(n=16), weight, 2, 1e-3)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for seed, (task, lr) in enumerate([(0, 1e-3), (1, 1e-4), (None, 0.0)]):
            compiled.update(rows((seed,), n=16, task=task), weight, 2, lr)
        compiled.start_task(0, reset_optimizer=True)
        compiled.update(rows(n=16), weight, 2, 1e-3)


def test_what_cannot_be_compiled_runs_eagerly_and_says_so_once(caplog):
    def function(x):
        print("a side effect breaks the graph")
        return x + 1

    double = Compiled(function, "the sum")
    assert [double(torch.tensor(value)).item() for value in (1, 2)] == [2, 3]
    said = [record.message for record in caplog.records if record.name == "retain"]
    assert [line.partition(":")[0] for line in said] == [
        "the sum cannot be compiled and runs eagerly"
    ]


def test_an_error_of_the_function_itself_is_no_failed_compilation():
    def function(x):
        return x @ torch.ones(3)

    with pytest.raises(Exception, match="size") as raised:
        Compiled(function, "the product")(torch.ones(2))
    assert not isinstance(raised.value, TorchDynamoException)


def test_without_a_compiler_the_reason_is_given(monkeypatch):
    def none_found():
        raise RuntimeError("no g++ here\nlong explanation")

    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", none_found)
    assert missing_compiler() == "no g++ here"


def test_the_gradient_of_a_square_is_its_double():
    theta = torch.tensor([1.0, -2.0])
    gradient, info = gradient_of(lambda t: (t.square().sum(), {"double": 2 * t}), theta)
    assert gradient.tolist() == [2, -4]
    assert info["double"].tolist() == [2, -4]
    assert not info["double"].requires_grad
