"""Gradients of weighted sums of rows are the sums of their gradients, whatever the network."""

import pytest
import torch
from torch import nn

from agents import row_gradients
from agents.flat import FlatNetwork
from agents.networks import NETWORKS, NetworkSpec
from agents.row_gradients import weighted_gradients

KINDS = {
    "plain": {},
    "one head": {"head": "single"},
    "told the task": {"head": "conditioned"},
    "dueling": {"dueling": True},
    "LayerNorm": {"layer_norm": True},
    "noisy": {"noisy": True},
    "everything": {"dueling": True, "layer_norm": True, "noisy": True, "atoms": 2},
}


def mlp(**changed) -> FlatNetwork:
    given = {"shape": (3,), "num_actions": 2, "num_tasks": 3, "hidden": (5, 4)}
    return FlatNetwork(NETWORKS["mlp"](NetworkSpec(**given | changed)))


class Twice(nn.Module):
    """Its one layer is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, obs, task):
        return self.layer(self.layer(obs).tanh())


class PerPart(nn.Module):
    """Its layer sees several vectors of each row."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, obs, task):
        return self.layer(torch.stack([obs, obs.square()], 1)).prod(1)


class PartsAsRows(PerPart):
    """Its layer sees the vectors of all rows one below the other."""

    def forward(self, obs, task):
        parts = torch.stack([obs, obs.square()], 1)
        return self.layer(parts.flatten(0, 1)).unflatten(0, (-1, 2)).prod(1)


class PerTask(PerPart):
    """Its layer sees the tasks, not the rows."""

    def forward(self, obs, task):
        return self.layer(torch.eye(3))[task] * obs[:, :2]


class ByName(PerPart):
    """Its layer is given its input by name."""

    def forward(self, obs, task):
        return self.layer(input=obs)


class Hooked(PerPart):
    """What its layer says is changed by a hook."""

    def __init__(self) -> None:
        super().__init__()
        self.layer.register_forward_hook(lambda layer, given, output: output.tanh())

    def forward(self, obs, task):
        return self.layer(obs)


OTHERS = {
    "convolutions": lambda: NETWORKS["cnn"](NetworkSpec((3, 4, 4), 2, 3, hidden=(5,))),
    "a layer twice": Twice,
    "parts of rows": PerPart,
    "parts as rows": PartsAsRows,
    "tasks as rows": PerTask,
    "an input by name": ByName,
    "a hook": Hooked,
}


def rows_of(network, shape=(3,)):
    """Parameters, losses of seven rows as a function of them, and weights of three sums."""
    generator = torch.Generator().manual_seed(0)
    theta = network.initial(generator)
    noise = torch.randn(network.noise_size, generator=generator)
    obs, task = torch.randn(7, *shape, generator=generator), torch.arange(7) % 3
    weights = torch.rand(3, 7, generator=generator) * (torch.arange(3)[:, None] == task)

    def losses(theta):
        return network(theta, noise, obs, task).square().flatten(1).sum(1)

    return theta, losses, weights


def expected(theta, losses, weights):
    return weights @ torch.func.jacrev(losses)(theta)


@pytest.mark.parametrize("kind", KINDS)
def test_one_pass_back_makes_the_gradients_of_all_sums(monkeypatch, kind):
    network = mlp(**KINDS[kind])
    theta, losses, weights = rows_of(network)
    right = expected(theta, losses, weights)
    passes = []
    vjp = torch.func.vjp
    monkeypatch.setattr(torch.func, "vjp", lambda *given: passes.append(given) or vjp(*given))
    found = weighted_gradients(network, losses, theta, weights)
    assert torch.allclose(found, right, rtol=1e-5, atol=1e-6)
    assert len(passes) == 1 and isinstance(passes[0][1], dict)  # not of theta


def test_of_layers_that_multiply_in_half_precision_they_are_as_exact_as_these(monkeypatch):
    network, exact = (mlp(bfloat16=low, layer_norm=True) for low in (True, False))
    theta, losses, weights = rows_of(network)
    right = expected(*rows_of(exact))
    plain, passes, vjp = expected(theta, losses, weights), [], torch.func.vjp
    monkeypatch.setattr(torch.func, "vjp", lambda *given: passes.append(given) or vjp(*given))
    found = weighted_gradients(network, losses, theta, weights)
    assert len(passes) == 1 and isinstance(passes[0][1], dict)  # not of theta
    assert found.dtype == torch.float32
    assert 0 < (found - right).norm() < 1.1 * (plain - right).norm()


@pytest.mark.parametrize("kind", OTHERS)
def test_where_a_layer_has_no_rule_or_is_used_otherwise_they_are_right_as_well(kind):
    network = FlatNetwork(OTHERS[kind]())
    theta, losses, weights = rows_of(network, (3, 4, 4) if kind == "convolutions" else (3,))
    found = weighted_gradients(network, losses, theta, weights)
    assert torch.allclose(found, expected(theta, losses, weights), rtol=1e-5, atol=1e-6)


def test_one_sum_has_an_ordinary_gradient_bit_by_bit():
    theta, losses, weights = rows_of(network := mlp())
    theta.requires_grad_()
    (right,) = torch.autograd.grad((weights[1] * losses(theta)).sum(), theta)
    found = weighted_gradients(network, losses, theta.detach(), weights[1:2])
    assert torch.equal(found[0], right)


def test_members_side_by_side_get_what_each_gets_alone():
    theta, losses, weights = rows_of(network := mlp(layer_norm=True))
    several = torch.stack([weights, weights.flip(0)])
    each = torch.func.vmap(lambda own: weighted_gradients(network, losses, theta, own))
    for own, found in zip(several, each(several), strict=True):
        alone = weighted_gradients(network, losses, theta, own)
        assert torch.allclose(found, alone, rtol=1e-5, atol=1e-6)


def test_nothing_of_it_stays_with_the_network():
    theta, losses, weights = rows_of(network := mlp())
    weighted_gradients(network, losses, theta, weights)
    assert not any(module._forward_hooks for module in network.network.modules())


def test_every_layer_of_the_registrys_mlp_has_a_rule():
    everything = mlp(**KINDS["everything"]).network
    kinds = {type(module) for module in everything.modules() if module._parameters}
    assert kinds == {row_gradients.NoisyLinear, nn.LayerNorm}
    assert kinds | {nn.Linear} <= row_gradients.RULES.keys()
