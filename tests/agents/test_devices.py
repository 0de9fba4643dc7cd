"""All that is done at each step stays on the learner's device.

`meta`, a device that only knows shapes, refuses tensors of the CPU beside its own as a GPU does.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from agents.building import initial_state, make_learner
from agents.engine import Engine
from agents.members import member_of
from agents.methods import METHODS
from agents.networks import NETWORKS
from agents.recording import Recording
from agents.switch import at_switch
from agents.tensors import BatchTensors, whole_numbers

META = torch.device("meta")
SHAPES = {"mlp": (3,), "cnn": (2, 5, 5)}
VALID = np.array([[True, True, False], [True, True, True]])
RICH = {
    "dueling": True,
    "layer_norm": True,
    "noisy": True,
    "normalize_observations": True,
    "scale_rewards": True,
}
TOGETHER = [  # all methods, as recording takes long
    {"methods": "ewc,si,agem,medqn,derpp"},
    *(
        pytest.param(choice, marks=pytest.mark.slow)
        for choice in (
            {"methods": "distill,lwf,pcgrad,rwalk,l1,spectral,clear"},
            {"methods": "l2,l2_init,l2_previous,mas,parseval,clonex,der"},
            {"methods": "gem,ogd,reset", "network": "cnn"},
            {"distribution": "quantiles", **RICH},
            {"distribution": "categories", **RICH},
        )
    ),
]
aten = torch.ops.aten
COUNTING = {aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor}
LOOK = {"ogd", "rwalk"}  # at values, which no tensor of `meta` has, where a task ends
CHOICES = [
    *({"network": network, "methods": name} for network in NETWORKS for name in METHODS),
    *({"distribution": each, **RICH} for each in ("expectation", "quantiles", "categories")),
    *({"network": network, "precision": "bfloat16"} for network in NETWORKS),
    {"head": "conditioned"},
    {"task_identity": "hidden", "head": "single"},
]


@pytest.fixture(params=[1, 2], ids=["one member", "two members"])
def engine(request, options):
    """An engine on another device than the CPU, and a state there."""

    def make(**choice):
        space = SimpleNamespace(
            shape=SHAPES[choice.get("network", "mlp")], valid=VALID, scale=np.ones(2, np.float32)
        )
        learner = make_learner(space, options(**{"head": "per_task"} | choice), META)
        rngs = [np.random.default_rng(seed) for seed in range(request.param)]
        state = initial_state(learner, space, 4, rngs, META)
        return Engine(learner, request.param, META), state

    return make


def call_of(made, data):
    """What an update of one gradient step is given."""
    noise = torch.zeros(made.members, 3, made.quiet.shape[1], device=META)
    (call,) = BatchTensors(META).of(data, np.ones(data["reward"].shape, np.float32), noise, 1e-3)
    return call


def device_of(node):
    return getattr(node.meta.get("val"), "device", None)


def places(trees):
    return {(name, tensor.device) for tree in trees for name, tensor in tree.items()}


@torch.no_grad()
@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: "-".join(map(str, choice.values())))
def test_an_update_and_the_actions_after_it_stay_on_the_learners_device(engine, rows, choice):
    made, state = engine(**choice)
    data = rows(tuple(range(made.members)), shape=SHAPES[choice.get("network", "mlp")])
    call, seen = call_of(made, data), made._observations.at(data["state"][:, :4], 1, made.quiet)
    found = made._steps(state, call, seen)
    assert {device for _, device in places((call, seen, *found))} == {META}
    assert found[0].keys() == state.keys()


@torch.no_grad()
@pytest.mark.parametrize("choice", TOGETHER, ids=lambda choice: "-".join(map(str, choice.values())))
def test_numbers_of_the_cpu_are_only_counted_with_never_copied(engine, rows, choice):
    """`vmap` leaves some, which a GPU is told with a launch; a copy would end a capture."""
    made, state = engine(**choice)
    data = rows(tuple(range(made.members)), shape=SHAPES[choice.get("network", "mlp")])
    graph = Recording(made._steps, (state, call_of(made, data)))._graph.graph
    on_cpu = [node for node in graph.nodes if device_of(node) == torch.device("cpu")]
    for node in on_cpu:
        assert node.meta["val"].dim() == 0
        for user in node.users:
            assert device_of(user) != META or user.target in COUNTING, user.format_node()


@torch.no_grad()
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("methods", sorted(METHODS.keys() - LOOK))
def test_a_switch_of_tasks_stays_on_the_learners_device(engine, rows, methods, network):
    made, state = engine(methods=methods, network=network)
    data = rows(tuple(range(made.members)), n=16, shape=SHAPES[network], task=0)
    noise = torch.zeros(made.members, 3, 0, device=META)
    samples = whole_numbers(made.tensors(data)) | {"noise": noise}
    state, samples = member_of(state, 0), member_of(samples, 0)  # one after the other
    ended = at_switch(made.learner, "end_task", state, samples)
    started = at_switch(made.learner, "start_task", ended)
    assert places([started]) == {(name, META) for name in state}


@pytest.mark.parametrize("adapt", [False, True])
def test_scales_are_taken_in_on_the_learners_device(engine, adapt):
    made, state = engine(**RICH)
    obs, reward = np.zeros((made.members, 4, 3), np.float32), np.zeros((made.members, 4))
    new = made.observe(state, obs, reward.astype(np.float32), reward > 0, 1, adapt)
    assert places([new]) == {(name, META) for name in state}


def test_a_tensor_of_the_cpu_among_them_is_noticed(engine):
    made, state = engine()
    with pytest.raises(RuntimeError, match="device"):
        made.learner.new_target(state | {"target": torch.zeros(state["theta"].shape)})
