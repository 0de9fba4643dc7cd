"""What outputs mean and how wrong they are, against numbers worked out by hand."""

import pytest
import torch

from agents.values import Categories, Expectation, Quantiles, make_values


def tensor(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers)


def projected(values: Categories, following: torch.Tensor, reward: float, discount: float):
    """C51's target: the gradient of its cross entropy is the prediction minus the target."""
    outputs = torch.zeros(1, values.atoms, requires_grad=True)
    loss = values.loss(outputs, following[None], tensor(reward), tensor(discount))
    loss.sum().backward()
    return (outputs.detach().softmax(-1) - outputs.grad)[0]


def test_a_name_chooses_the_meaning():
    kinds = {"expectation": Expectation, "quantiles": Quantiles, "categories": Categories}
    for name, kind in kinds.items():
        values = make_values(name, 7, 1.0, 3.0)
        assert type(values) is kind
        assert values.atoms == (1 if name == "expectation" else 7)


def test_an_expectation_is_its_output():
    outputs = torch.arange(6.0).view(1, 6, 1)
    assert Expectation(1.0).q(outputs).tolist() == [[0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize(("delta", "loss"), [(1.0, 2.5), (2.0, 4.0), (0.0, 4.5)])
def test_the_loss_of_an_expectation_is_the_huber_loss_of_its_error(delta, loss):
    # the error is 1 + 0.5 * 8 - 2 = 3
    result = Expectation(delta).loss(tensor(2.0)[None], tensor(8.0)[None], tensor(1), tensor(0.5))
    assert result.tolist() == [loss]


def test_the_value_of_quantiles_is_their_mean():
    assert Quantiles(2, 1.0).q(torch.tensor([[[1.0, 5.0], [-2.0, 0.0]]])).tolist() == [[3, -1]]


def test_the_quantile_huber_loss_of_two_quantiles_by_hand():
    # Targets 1 + 0.5 * (-2, 4) = (0, 3). The predictions (0, 1) are the quantiles 1/4 and 3/4.
    # Prediction 0: errors 0, 3; Huber 0, 5/2; weights 1/4, 1/4: mean 5/16.
    # Prediction 1: errors -1, 2; Huber 1/2, 3/2; weights |3/4 - 1|, 3/4: mean (1/8 + 9/8) / 2.
    loss = Quantiles(2, 1.0).loss(
        tensor(0.0, 1.0)[None], tensor(-2.0, 4.0)[None], tensor(1.0), tensor(0.5)
    )
    assert loss.tolist() == [5 / 16 + 10 / 16]


def test_quantile_regression_finds_the_quantiles_of_its_targets():
    values, outputs = Quantiles(4, 1e-3), torch.zeros(1, 4, requires_grad=True)
    optimizer = torch.optim.SGD([outputs], lr=20.0)
    targets = torch.arange(0.0, 1.0, 0.01)[:, None].expand(100, 4)
    for _ in range(300):
        optimizer.zero_grad()
        loss = values.loss(outputs.expand(100, 4), targets, torch.zeros(100), torch.ones(100))
        loss.mean().backward()
        optimizer.step()
    assert torch.allclose(outputs[0], tensor(1 / 8, 3 / 8, 5 / 8, 7 / 8), atol=0.02)


def test_the_value_of_a_histogram_is_its_mean():
    share = torch.tensor([[[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]])  # of the returns -2, 0 and 2
    assert torch.allclose(Categories(3, 2.0).q(share.log()), tensor(-0.5, 2.0)[None])


def test_the_projection_of_a_histogram_by_hand():
    # The returns (-2, -1, 0, 1, 2) become 0.5 + 0.5 z = (-0.5, 0, 0.5, 1, 1.5); what falls
    # between two atoms is shared by them.
    following = tensor(0.1, 0.2, 0.3, 0.2, 0.2).log()
    expected = tensor(0.0, 0.05, 0.05 + 0.2 + 0.15, 0.15 + 0.2 + 0.1, 0.1)
    assert torch.allclose(projected(Categories(5, 2.0), following, 0.5, 0.5), expected, atol=1e-6)


def test_a_target_nearer_to_one_atom_gives_it_the_larger_share():
    following = tensor(0.0, -1e9, -1e9)  # all of it at -1; 0.25 - 1 = -0.75
    target = projected(Categories(3, 1.0), following, 0.25, 1.0)
    assert torch.allclose(target, tensor(0.75, 0.25, 0.0), atol=1e-6)


@pytest.mark.parametrize(("reward", "atom"), [(10.0, 4), (-10.0, 0), (2.5, 4)])
def test_returns_beyond_the_histogram_count_at_its_edge(reward, atom):
    target = projected(Categories(5, 2.0), torch.zeros(5), reward, 0.1)
    assert torch.allclose(target, torch.eye(5)[atom], atol=1e-6)


def test_a_projection_neither_loses_nor_makes_probability():
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        following = torch.randn(11, generator=generator) * 3
        reward, discount = torch.randn(2, generator=generator).tolist()
        target = projected(Categories(11, 2.0), following, 2 * reward, abs(discount))
        assert float(target.sum()) == pytest.approx(1, abs=1e-5)
        assert float(target.min()) > -1e-6


@pytest.mark.parametrize("name", ["expectation", "quantiles", "categories"])
def test_where_the_discount_is_zero_the_following_value_does_not_matter(name):
    values = make_values(name, 3, 1.0, 2.0)
    generator = torch.Generator().manual_seed(0)
    outputs, one, other = torch.randn(3, 1, values.atoms, generator=generator)
    losses = [values.loss(outputs, f, tensor(0.3), tensor(0.0)) for f in (one, other)]
    assert torch.allclose(*losses, rtol=1e-6)
    bootstrapped = [values.loss(outputs, f, tensor(0.3), tensor(0.9)) for f in (one, other)]
    assert not torch.allclose(*bootstrapped, rtol=1e-2)


@pytest.mark.parametrize("name", ["expectation", "quantiles", "categories"])
def test_each_row_has_the_loss_it_has_alone(name):
    values = make_values(name, 3, 1.0, 2.0)
    generator = torch.Generator().manual_seed(0)
    outputs, following = torch.randn(2, 6, values.atoms, generator=generator)
    reward, discount = torch.rand(2, 6, generator=generator)
    together = values.loss(outputs, following, reward, discount)
    assert together.shape == (6,)
    for i in range(6):
        row = slice(i, i + 1)
        alone = values.loss(outputs[row], following[row], reward[row], discount[row])
        assert torch.allclose(together[row], alone)
