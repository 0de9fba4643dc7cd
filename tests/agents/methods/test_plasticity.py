"""Spectral and Parseval regularisation: worked out by hand, and for hidden layers only."""

import pytest
import torch
from torch import Tensor, nn

from agents import METHODS
from agents.flat import FlatNetwork
from agents.methods.layers import hidden_matrices
from agents.model import Model
from agents.values import make_values


class Chain(nn.Module):
    """A hidden layer and an output layer without biases."""

    output_layers = ("answer",)

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden, bias=False)
        self.answer = nn.Linear(hidden, 1, bias=False)

    def forward(self, obs: Tensor, task: Tensor) -> Tensor:
        return self.answer(self.hidden(obs))


def model_of(matrix: list[list[float]]) -> tuple[Model, Tensor]:
    """A network with this hidden layer, and its parameters."""
    weights = torch.tensor(matrix)
    network = FlatNetwork(Chain(weights.shape[1], weights.shape[0]))
    model = Model(network, make_values("expectation", 1, 0.0, 5.0), torch.ones(1, 1).bool())
    return model, torch.cat([weights.flatten(), torch.full((weights.shape[0],), 10.0)])


def test_spectral_the_leading_singular_value_is_pulled_to_one():
    model, theta = model_of([[3.0, 0.0], [0.0, 1.0]])
    method = METHODS["spectral"](model, strength=0.5)
    theta.requires_grad_()
    penalty = method.penalty(theta, method.init(theta.detach()), {})
    penalty.backward()
    assert penalty.item() == pytest.approx(0.5 * (9 - 1) ** 2)
    # Of 0.5 (sigma^2 - 1)^2: (sigma^2 - 1) 2 sigma along the singular vectors.
    assert theta.grad.tolist() == pytest.approx([48, 0, 0, 0, 0, 0], abs=1e-4)


def test_spectral_follows_the_singular_vector_as_the_weights_move():
    model, theta = model_of([[3.0, 0.0], [0.0, 1.0]])
    method = METHODS["spectral"](model, strength=1.0, power=1.0)
    state = method.init(theta)
    moved = torch.cat([torch.tensor([1.0, 0.5, 0.0, 4.0]), theta[4:]])
    for _ in range(20):
        _, state = method.after_step(moved, state, theta, theta, {})
    sigma = torch.linalg.svdvals(moved[:4].view(2, 2))[0].item()
    assert method.penalty(moved, state, {}).item() == pytest.approx((sigma - 1) ** 2, rel=1e-4)


def test_parseval_the_gram_matrix_is_pulled_to_a_multiple_of_the_identity():
    # W W^T - 2 I = diag(7, -1)
    model, theta = model_of([[3.0, 0.0], [0.0, 1.0]])
    assert METHODS["parseval"](model, strength=0.1).penalty(theta, {}, {}).item() == pytest.approx(
        5
    )


def test_parseval_columns_are_made_orthogonal_where_rows_cannot_be():
    model, theta = model_of([[1.0], [1.0]])  # W^T W = 2
    assert METHODS["parseval"](model, strength=1.0).penalty(theta, {}, {}).item() == 0


def test_only_hidden_weight_matrices_count(agent):
    mine = agent(
        shape=(2, 5, 5), network="cnn", layer_norm=True, noisy=True, dueling=True, hidden=(6, 4)
    )
    matrices = hidden_matrices(mine.learner.model, mine.state["theta"][0])
    shapes = {name: tuple(matrix.shape) for name, matrix in matrices.items()}
    assert shapes == {
        "torso.convolutions.0.weight": (16, 18),
        "torso.layers.0.weight": (6, 144),
        "torso.layers.3.weight": (4, 6),
    }


@pytest.mark.parametrize("methods", ["spectral:strength=0.1", "parseval:strength=0.1"])
def test_learning_lowers_the_penalty(methods, agent, rows, learn):
    mine = agent(methods=methods)
    penalties = [
        learn(mine, rows((step,)), lr=3e-2)[1][f"{methods.partition(':')[0]}_penalty"]
        for step in range(20)
    ]
    assert penalties[-1] < 0.5 * penalties[0]
