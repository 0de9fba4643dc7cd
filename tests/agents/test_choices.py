"""Gradients of choices of rows are those of the rows chosen, whatever the network is made of."""

import pytest
import torch
from torch import nn

from agents import choices
from agents.choices import choice_gradients
from agents.flat import FlatNetwork
from agents.networks import NETWORKS, NetworkSpec

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
    """Parameters, losses of seven rows as a function of them, and three choices of rows."""
    generator = torch.Generator().manual_seed(0)
    theta = network.initial(generator)
    noise = torch.randn(network.noise_size, generator=generator)
    obs, task = torch.randn(7, *shape, generator=generator), torch.arange(7) % 3
    share = torch.rand(3, 7, generator=generator) * (torch.arange(3)[:, None] == task)

    def losses(theta):
        return network(theta, noise, obs, task).square().flatten(1).sum(1)

    return theta, losses, share


def expected(theta, losses, share):
    return share @ torch.func.jacrev(losses)(theta)


@pytest.mark.parametrize("kind", KINDS)
def test_one_pass_back_makes_the_gradients_of_all_choices(monkeypatch, kind):
    network = mlp(**KINDS[kind])
    theta, losses, share = rows_of(network)
    right = expected(theta, losses, share)
    passes = []
    vjp = torch.func.vjp
    monkeypatch.setattr(torch.func, "vjp", lambda *given: passes.append(given) or vjp(*given))
    found = choice_gradients(network, losses, theta, share)
    assert torch.allclose(found, right, rtol=1e-5, atol=1e-6)
    assert len(passes) == 1 and isinstance(passes[0][1], dict)  # not of theta


def test_of_layers_that_multiply_in_half_precision_they_are_as_exact_as_these(monkeypatch):
    network, exact = (mlp(bfloat16=low, layer_norm=True) for low in (True, False))
    theta, losses, share = rows_of(network)
    right = expected(*rows_of(exact))
    plain, passes, vjp = expected(theta, losses, share), [], torch.func.vjp
    monkeypatch.setattr(torch.func, "vjp", lambda *given: passes.append(given) or vjp(*given))
    found = choice_gradients(network, losses, theta, share)
    assert len(passes) == 1 and isinstance(passes[0][1], dict)  # not of theta
    assert found.dtype == torch.float32
    assert 0 < (found - right).norm() < 1.1 * (plain - right).norm()


@pytest.mark.parametrize("kind", OTHERS)
def test_where_a_layer_has_no_rule_or_is_used_otherwise_they_are_right_as_well(kind):
    network = FlatNetwork(OTHERS[kind]())
    theta, losses, share = rows_of(network, (3, 4, 4) if kind == "convolutions" else (3,))
    found = choice_gradients(network, losses, theta, share)
    assert torch.allclose(found, expected(theta, losses, share), rtol=1e-5, atol=1e-6)


def test_one_choice_is_an_ordinary_gradient_bit_by_bit():
    theta, losses, share = rows_of(network := mlp())
    theta.requires_grad_()
    (right,) = torch.autograd.grad((share[1] * losses(theta)).sum(), theta)
    found = choice_gradients(network, losses, theta.detach(), share[1:2])
    assert torch.equal(found[0], right)


def test_members_side_by_side_get_what_each_gets_alone():
    theta, losses, share = rows_of(network := mlp(layer_norm=True))
    shares = torch.stack([share, share.flip(0)])
    each = torch.func.vmap(lambda own: choice_gradients(network, losses, theta, own))
    for own, found in zip(shares, each(shares), strict=True):
        alone = choice_gradients(network, losses, theta, own)
        assert torch.allclose(found, alone, rtol=1e-5, atol=1e-6)


def test_nothing_of_it_stays_with_the_network():
    theta, losses, share = rows_of(network := mlp())
    choice_gradients(network, losses, theta, share)
    assert not any(module._forward_hooks for module in network.network.modules())


def test_every_layer_of_the_registrys_mlp_has_a_rule():
    everything = mlp(**KINDS["everything"]).network
    kinds = {type(module) for module in everything.modules() if module._parameters}
    assert kinds == {choices.NoisyLinear, nn.LayerNorm}
    assert kinds | {nn.Linear} <= choices.RULES.keys()
