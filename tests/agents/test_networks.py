"""What holds for every network that can be chosen by name, and the noisy layer alone."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from agents import NETWORKS, NetworkSpec
from agents.flat import FlatNetwork
from agents.layers import BFloat16Conv2d, NoisyLinear

SHAPES = {"mlp": (3,), "cnn": (2, 5, 4)}
HEADS = ("single", "per_task", "conditioned")
TASKS, ACTIONS, ATOMS = 3, 4, 2


def build(kind: str, **changed: object) -> FlatNetwork:
    spec = NetworkSpec(
        **{
            "shape": SHAPES[kind],
            "num_actions": ACTIONS,
            "num_tasks": TASKS,
            "atoms": ATOMS,
            "hidden": (8, 6),
            "head": "single",
            "dueling": False,
            "layer_norm": False,
            "noisy": False,
            **changed,
        }
    )
    return FlatNetwork(NETWORKS[kind](spec))


def draw(network: FlatNetwork, seed: int = 0) -> Tensor:
    return network.initial(torch.Generator().manual_seed(seed))


def look(kind: str, n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, *SHAPES[kind], generator=torch.Generator().manual_seed(seed))


def silent(network: FlatNetwork) -> Tensor:
    return torch.zeros(network.noise_size)


@pytest.fixture(params=NETWORKS)
def kind(request):
    return request.param


def test_every_named_network_is_tested_here():
    assert NETWORKS.keys() == SHAPES.keys()


@pytest.mark.parametrize(
    ("head", "dueling", "layer_norm", "noisy"), list(product(HEADS, *[[False, True]] * 3))
)
def test_a_row_has_the_same_outputs_in_any_batch(kind, head, dueling, layer_norm, noisy):
    network = build(kind, head=head, dueling=dueling, layer_norm=layer_norm, noisy=noisy)
    theta, obs, task = draw(network), look(kind, 5), torch.tensor([2, 0, 1, 1, 0])
    assert (network.noise_size > 0) == noisy
    noise = torch.randn(network.noise_size, generator=torch.Generator().manual_seed(1))
    together = network(theta, noise, obs, task)
    assert together.shape == (5, ACTIONS, ATOMS)
    for i in range(5):
        alone = network(theta, noise, obs[i : i + 1], task[i : i + 1])
        assert torch.allclose(together[i], alone[0], atol=1e-6)
    assert not torch.allclose(together[0], together[1])


@pytest.mark.parametrize("head", HEADS)
def test_only_a_single_head_is_blind_to_the_task(kind, head):
    network = build(kind, head=head)
    obs = look(kind, 1).expand(TASKS, *SHAPES[kind])
    outputs = network(draw(network), silent(network), obs, torch.arange(TASKS))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        assert torch.allclose(outputs[a], outputs[b]) == (head == "single")


@pytest.mark.parametrize("dueling", [False, True])
def test_a_row_teaches_the_head_of_its_own_task_only(kind, dueling):
    network = build(kind, head="per_task", dueling=dueling)
    theta = draw(network).requires_grad_()
    network(
        theta, silent(network), look(kind, 6), torch.ones(6, dtype=torch.long)
    ).square().sum().backward()
    gradients = network.unflatten(theta.grad)
    heads = [name for name in gradients if not name.startswith("torso")]
    assert len(heads) == (4 if dueling else 2)
    for name in heads:
        first, own, last = gradients[name].reshape(TASKS, -1)
        assert not first.any()
        assert not last.any()
        assert own.abs().sum() > 0
    assert any(gradients[name].any() for name in gradients if name.startswith("torso"))


@pytest.mark.parametrize("head", HEADS)
def test_advantages_have_mean_zero_and_the_value_adds_to_every_action(kind, head):
    network = build(kind, head=head, dueling=True)
    theta, obs, task = draw(network), look(kind, 4), torch.tensor([0, 1, 2, 0])

    def outputs(**shift: float) -> Tensor:
        values = network.unflatten(theta.clone())
        for name in shift:
            values[f"{name}.weight"] += shift[name]
            values[f"{name}.bias"][0] += shift[name]
        return network(network.flatten(values), silent(network), obs, task)

    plain, other_advantages, other_values = outputs(), outputs(advantage=0.7), outputs(value=0.7)
    assert torch.allclose(plain.mean(1), other_advantages.mean(1), atol=1e-5)
    centred = plain - plain.mean(1, keepdim=True)
    assert torch.allclose(centred, other_values - other_values.mean(1, keepdim=True), atol=1e-5)
    assert not torch.allclose(plain[0], other_advantages[0], atol=1e-3)
    assert not torch.allclose(plain[0], other_values[0], atol=1e-3)


def test_in_half_precision_layers_round_what_they_multiply_and_heads_do_not():
    spec = NetworkSpec((1,), num_actions=1, num_tasks=1, hidden=(1,), bfloat16=True)
    network = FlatNetwork(NETWORKS["mlp"](spec))
    values = {"torso.layers.0": (1.0, 0.0), "advantage": (1 + 2**-12, 2**-12)}
    theta = network.flatten(
        {
            f"{name}.{part}": torch.tensor([value])
            for name, pair in values.items()
            for part, value in zip(("weight", "bias"), pair, strict=True)
        }
    )
    # bfloat16 has no number between 1 and 1 + 2**-7.
    outputs = network(theta, silent(network), torch.tensor([[1 + 2**-9]]), torch.tensor([0]))
    assert outputs.dtype == torch.float32
    assert outputs.item() == 1 + 2**-12 + 2**-12


def test_a_convolution_in_half_precision_rounds_what_it_multiplies_and_not_its_bias():
    layer = BFloat16Conv2d(1, 1, 1, 1)
    nn.init.ones_(layer.weight)
    nn.init.constant_(layer.bias, 2**-12)
    outputs = layer(torch.tensor([[[[1 + 2**-9, 2.0]]]]))
    assert outputs.flatten().tolist() == [1 + 2**-12, 2 + 2**-12]


@pytest.mark.parametrize(("dueling", "layer_norm", "noisy"), list(product(*[[False, True]] * 3)))
def test_half_precision_is_close_to_single_and_its_gradient_is_in_single(
    kind, dueling, layer_norm, noisy
):
    found = []
    for low in (False, True):
        network = build(kind, dueling=dueling, layer_norm=layer_norm, noisy=noisy, bfloat16=low)
        theta = draw(network).requires_grad_()
        noise = torch.randn(network.noise_size, generator=torch.Generator().manual_seed(1))
        outputs = network(theta, noise, look(kind, 20), torch.zeros(20, dtype=torch.long))
        outputs.square().sum().backward()
        found.append((outputs.detach(), theta.grad))
    bounds = (0.02, 0.2)  # a unit that is nearly zero has a gradient or none
    for single, low, bound in zip(*found, bounds, strict=True):
        assert low.dtype == torch.float32
        assert 0 < (low - single).norm() < bound * single.norm()


@pytest.mark.parametrize(("layer_norm", "blind"), [(True, True), (False, False)])
def test_layer_norm_takes_away_the_size_of_what_goes_into_an_activation(kind, layer_norm, blind):
    network = build(kind, layer_norm=layer_norm)
    values, obs, task = network.unflatten(draw(network)), look(kind, 3), torch.zeros(3).long()
    plain = network(network.flatten(values), silent(network), obs, task)
    for part in ("weight", "bias"):
        values[f"torso.layers.0.{part}"] *= 1_000
    scaled = network(network.flatten(values), silent(network), obs, task)
    assert torch.allclose(plain, scaled, atol=1e-2) == blind


@pytest.mark.parametrize("dueling", [False, True])
def test_at_zero_noise_a_noisy_network_is_the_plain_one_with_its_mean_weights(kind, dueling):
    noisy, plain = (build(kind, noisy=noise, dueling=dueling) for noise in (True, False))
    theta, obs, task = draw(noisy), look(kind, 3), torch.zeros(3).long()
    means = plain.flatten(noisy.unflatten(theta))
    expected = plain(means, silent(plain), obs, task)
    assert torch.equal(noisy(theta, silent(noisy), obs, task), expected)
    noise = torch.randn(noisy.noise_size, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(noisy(theta, noise, obs, task), expected, atol=1e-3)


def test_the_noisy_layer_by_hand():
    # f(4, -9) = (2, -3) and f(16) = 4 with f(x) = sign(x) sqrt(|x|).
    # Weights (1 + 0.5 * 4 * 2, 2 + 0.25 * 4 * -3) = (5, -1), bias 3 + 2 * 4 = 11.
    network = FlatNetwork(Noisy())
    theta = torch.tensor([1.0, 2.0, 3.0, 0.5, 0.25, 2.0])
    assert list(network.unflatten(theta)) == [
        f"layer.{name}" for name in ("weight", "bias", "weight_sigma", "bias_sigma")
    ]
    x = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    assert network(theta, torch.tensor([4.0, -9.0, 16.0]), x, None).tolist() == [[14], [11]]


class Noisy(torch.nn.Module):
    """One noisy layer of two inputs and one output."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = NoisyLinear(2, 1)

    def forward(self, obs, task):
        return self.layer(obs)


def test_a_noisy_layer_starts_as_the_paper_says():
    values = NoisyLinear(16, 200).initial(torch.Generator().manual_seed(0))
    assert (values["weight_sigma"] == 0.5 / 4).all()
    assert (values["bias_sigma"] == 0.5 / 4).all()
    for name in ("weight", "bias"):
        assert 0.9 / 4 < values[name].abs().max() <= 1 / 4
        assert abs(float(values[name].mean())) < 0.03


def test_large_images_go_through_the_three_layers_of_mnih():
    spec = NetworkSpec((4, 84, 84), 6, 1, hidden=(512,), head="single")
    with torch.device("meta"):
        network = FlatNetwork(NETWORKS["cnn"](spec))
    convolutions = (4 * 64 + 1) * 32 + (32 * 16 + 1) * 64 + (64 * 9 + 1) * 64
    assert network.size == convolutions + (7 * 7 * 64 + 1) * 512 + (512 + 1) * 6


@pytest.mark.parametrize("side", [35, 36])
def test_images_around_the_border_between_small_and_large_can_be_seen(side):
    network = FlatNetwork(
        NETWORKS["cnn"](NetworkSpec((1, side, side), 2, 1, hidden=(4,), head="single"))
    )
    task = torch.zeros(1, dtype=torch.long)
    out = network(draw(network), silent(network), torch.rand(1, 1, side, side), task)
    assert out.shape == (1, 2, 1)
    assert len(network.unflatten(draw(network))) == (6 if side == 35 else 10)
