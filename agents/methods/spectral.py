"""Spectral regularisation: no hidden layer may stretch or shrink its input too much.

Source: Lewandowski et al. 2025 (arXiv 2406.06811): the sum over layers of (sigma^k - 1)^2, sigma
the layer's largest singular value, by one power iteration per step. Deviations: biases, LayerNorm
and the output layers are left alone (see `agents.methods.layers`).
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from agents.methods.layers import hidden_matrices
from agents.methods.method import Method, State
from agents.model import Batch, Model

FIRST_ITERATIONS = 100


def spectral(model: Model, *, strength: float = 1e-4, power: float = 2.0) -> Method:
    """`strength` times the sum over hidden layers of (sigma^`power` - 1)^2.

    The state holds each layer's leading right singular vector. It starts from equal entries, which
    some iterations on the initial weights turn, and one iteration after each step keeps.
    """

    def turned(matrix: Tensor, vector: Tensor) -> Tensor:
        return normalize(matrix.T @ (matrix @ vector), dim=0)

    def init(theta: Tensor) -> State:
        state = {}
        for name, matrix in hidden_matrices(model, theta).items():
            vector = torch.ones_like(matrix[0])
            for _ in range(FIRST_ITERATIONS):
                vector = turned(matrix, vector)
            state[name] = vector
        return state

    def penalty(theta: Tensor, state: State, batch: Batch) -> Tensor:
        matrices = hidden_matrices(model, theta)
        # At the singular vector, held still, this has the singular value's own gradient.
        sigma = torch.stack([(matrix @ state[name]).norm() for name, matrix in matrices.items()])
        return strength * (sigma**power - 1).square().sum()

    def after_step(
        theta: Tensor, state: State, before: Tensor, gradient: Tensor, batch: Batch
    ) -> tuple[Tensor, State]:
        matrices = hidden_matrices(model, theta)
        return theta, {name: turned(matrix, state[name]) for name, matrix in matrices.items()}

    return Method("spectral", init=init, penalty=penalty, after_step=after_step)
