"""Networks as functions of one vector."""

import pytest
import torch
from torch import nn

from agents.flat import FlatNetwork


class Mixed(nn.Module):
    """One of each kind of layer that has a rule for its initial weights."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Conv2d(3, 20, 4)
        self.norm = nn.LayerNorm(20)
        self.head = nn.Linear(20, 30)
        self.tail = nn.Linear(30, 2, bias=False)

    def forward(self, obs, task):
        return self.tail(self.head(self.norm(self.see(obs).flatten(1)))) + task[:, None]


class Own(nn.Module):
    """Draws its own weights, and has noise."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.empty(2))
        self.register_buffer("noise", torch.zeros(2))

    def initial(self, generator):
        return {"factor": torch.rand(2, generator=generator) + 7}

    def forward(self, obs, task):
        return obs * self.factor + self.noise


def draw(network: FlatNetwork, seed: int = 0) -> torch.Tensor:
    return network.initial(torch.Generator().manual_seed(seed))


def test_the_output_is_the_modules_with_these_parameters():
    module = Mixed()
    network, theta = FlatNetwork(Mixed()), torch.cat([p.flatten() for p in module.parameters()])
    obs, task = torch.randn(5, 3, 4, 4), torch.arange(5)
    assert network.size == len(theta)
    assert torch.equal(network(theta, torch.zeros(0), obs, task), module(obs, task))


def test_unflatten_names_the_parameters_and_flatten_undoes_it():
    network = FlatNetwork(Mixed())
    theta = torch.arange(float(network.size))
    values = network.unflatten(theta)
    assert {name: value.shape for name, value in values.items()} == {
        name: p.shape for name, p in Mixed().named_parameters()
    }
    assert torch.equal(network.flatten(values), theta)
    assert torch.equal(network.flatten(dict(reversed(values.items()))), theta)


def test_the_noise_is_an_input():
    network = FlatNetwork(Own())
    assert (network.size, network.noise_size) == (2, 2)
    out = network(torch.tensor([2.0, 3.0]), torch.tensor([10.0, 20.0]), torch.ones(1, 2), None)
    assert out.tolist() == [[12, 23]]


def test_the_gradient_reaches_every_parameter():
    network = FlatNetwork(Mixed())
    theta = draw(network).requires_grad_()
    network(theta, torch.zeros(0), torch.rand(5, 3, 4, 4), torch.zeros(5)).square().sum().backward()
    assert (theta.grad != 0).all()


def test_initial_weights_have_the_bounds_of_pytorchs_default():
    network = FlatNetwork(Mixed())
    ours, theirs = network.unflatten(draw(network)), dict(Mixed().named_parameters())
    bounds = {"see": (3 * 4 * 4) ** -0.5, "head": 20**-0.5, "tail": 30**-0.5}
    for layer, bound in bounds.items():
        for name in (f"{layer}.weight", f"{layer}.bias"):
            if name in ours:
                for values in (ours[name], theirs[name].detach()):
                    assert 0.7 * bound < values.abs().max() <= bound
                    assert values.min() < 0 < values.max()
    assert (ours["norm.weight"] == 1).all()
    assert (ours["norm.bias"] == 0).all()


def test_initial_weights_come_from_the_given_generator_alone():
    network = FlatNetwork(Mixed())
    torch.manual_seed(1)
    first, state = draw(network, seed=3), torch.random.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(torch.random.get_rng_state(), state)  # the global generator did not move
    torch.manual_seed(2)
    assert torch.equal(draw(network, seed=3), first)
    assert not torch.equal(draw(network, seed=4), first)


def test_a_network_on_meta_can_be_drawn_and_called():
    with torch.device("meta"):
        network = FlatNetwork(Own())
    theta = draw(network)
    assert theta.device.type == "cpu"
    assert torch.equal(network(theta, torch.zeros(2), torch.ones(1, 2), None)[0], theta)


def test_a_module_may_draw_its_own_weights():
    network = FlatNetwork(Own())
    first = draw(network, seed=3)
    assert ((first > 7) & (first < 8)).all()
    assert torch.equal(draw(network, seed=3), first)
    assert not torch.equal(draw(network, seed=4), first)


def test_a_module_without_a_rule_is_refused_with_the_cure():
    network = FlatNetwork(nn.Sequential(nn.Linear(2, 2), nn.Bilinear(2, 2, 1)))
    with pytest.raises(TypeError, match=r"Bilinear: give it initial\(generator\)"):
        draw(network)
