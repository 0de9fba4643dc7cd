"""Parseval regularisation: hidden layers stay close to rotations, so that they go on learning.

Source: Chung et al. 2024 (arXiv 2412.07224): the sum over layers of |W W^T - s I|^2 (Frobenius), s
= 2 for ReLU. Deviations: a layer with more outputs than inputs, whose rows cannot be orthogonal,
has its columns made so; biases, LayerNorm and the output layers are left alone (see
`agents.methods.layers`); the paper's extra diagonal layers are not added, and its initial weights
are orthogonal, ours are not.
"""

import torch
from torch import Tensor

from agents.methods.layers import hidden_matrices
from agents.methods.method import Method, State
from agents.model import Batch, Model


def parseval(model: Model, *, strength: float = 1e-4, scale: float = 2.0) -> Method:
    """`strength` times the sum over hidden layers of |W W^T - `scale` I|^2."""

    def penalty(theta: Tensor, state: State, batch: Batch) -> Tensor:
        terms = [_distance(matrix, scale) for matrix in hidden_matrices(model, theta).values()]
        return strength * torch.stack(terms).sum()

    return Method("parseval", penalty=penalty)


def _distance(matrix: Tensor, scale: float) -> Tensor:
    """Squared distance of the smaller Gram matrix to a multiple of the identity."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    identity = torch.eye(len(wide), dtype=wide.dtype, device=wide.device)
    return (wide @ wide.T - scale * identity).square().sum()
