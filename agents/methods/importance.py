"""What each row's Q values or losses say of each weight: gradients per row, a few rows at a time.

A minibatch's gradient is a mean, and the square (or size) of a mean is not the mean of the squares:
what is measured over batches depends on their size. All here is per row.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from agents.model import Batch, Model

NUMBERS_AT_ONCE = 2**20  # of a Jacobian: 4 MB stay in the cache; more is slower, not faster
TARGET = ("next_outputs", "scaled_reward", "bootstrap_discount")
COLUMNS = ("inputs", "task", "valid", "action", *TARGET)

PerRow = Callable[[Tensor, Batch], tuple[Tensor, Tensor]]


def mean_over_rows(
    model: Model,
    theta: Tensor,
    batch: Batch,
    of_q: Callable[[Tensor, Tensor, Tensor], Tensor],
    numbers: int = NUMBERS_AT_ONCE,
) -> Tensor:
    """The mean over a batch's rows of a function of each row's Q values and their Jacobian.

    Args:
        model: The network.
        theta: Its parameters.
        batch: Prepared rows, n of them.
        of_q: `of_q(jacobian [n, actions, parameters], q [n, actions], valid [n, actions]) -> [n,
            parameters]`, for any n. The Jacobian is zero for actions that the task does not have.
        numbers: Most elements of a Jacobian held at once; one row's is held in any case.

    Returns:
        One number per parameter.
    """

    def function(theta: Tensor, row: Batch) -> tuple[Tensor, Tensor]:
        q = model.q(theta, row | {"noise": batch["noise"]})[0]
        return q * row["valid"][0], q

    total = torch.zeros_like(theta, dtype=torch.float64)
    for rows, jacobian, q in _jacobians(function, theta, batch, batch["valid"].shape[1], numbers):
        total += of_q(jacobian, q, rows["valid"]).sum(0, dtype=torch.float64)
    return (total / len(batch["task"])).to(theta.dtype)


def mean_squared_td_gradient(
    model: Model, theta: Tensor, batch: Batch, numbers: int = NUMBERS_AT_ONCE
) -> Tensor:
    """The mean over rows of the squared gradient of each row's TD loss, [parameters]."""

    def function(theta: Tensor, row: Batch) -> tuple[Tensor, Tensor]:
        loss = model.td_loss(theta, row | {"noise": batch["noise"]})
        return loss, loss

    total = torch.zeros_like(theta, dtype=torch.float64)
    for _, jacobian, _ in _jacobians(function, theta, batch, 1, numbers):
        total += jacobian[:, 0].square().sum(0, dtype=torch.float64)
    return (total / len(batch["task"])).to(theta.dtype)


def _jacobians(
    function: PerRow, theta: Tensor, batch: Batch, outputs: int, numbers: int
) -> Iterator[tuple[Batch, Tensor, Tensor]]:
    """Chunks of rows, the Jacobian [n, outputs, parameters] of each, and what else it returns."""
    rows = {name: batch[name] for name in COLUMNS}
    size = max(1, numbers // (outputs * len(theta)))
    each = vmap(jacrev(function, has_aux=True), in_dims=(None, 0))
    for start in range(0, len(batch["task"]), size):
        chunk = {name: column[start : start + size] for name, column in rows.items()}
        jacobian, aside = each(theta, {name: c[:, None] for name, c in chunk.items()})
        yield chunk, jacobian, aside
