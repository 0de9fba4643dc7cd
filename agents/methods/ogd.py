"""OGD: steps keep still, to first order, what the network said of earlier tasks' rows.

Source: Farajtabar et al. 2020 (arXiv 1910.07104), algorithm 1, with the gradient of one output per
sample (OGD-GTL): there the true class's logit, here Q(s, a) of the stored action.
Deviations: by default the step is projected, not the gradient. With the paper's plain SGD that is
the same; Adam's step of a projected gradient is not orthogonal to anything. The basis has room for
`rows` directions per task; once it is full, as after a revisit, no more are taken. The projected
step is the last one to be made, after the pulls of other methods, which must not undo it: SI and
RWalk measure the step before it.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from agents.methods.method import Method, State
from agents.methods.operators import accept_members
from agents.model import Batch, Model, taken

IN_CACHE = 2**17  # numbers of a block of the basis: half a megabyte
SMALLEST = 1e-4  # a direction whose new part is a smaller share of it is no new one


def ogd(model: Model, *, rows: int = 25, project: Literal["step", "gradient"] = "step") -> Method:
    """Takes from every step (or gradient) its part in the span of the old outputs' gradients.

    Raises:
        ValueError: No rows.
    """
    if rows < 1:
        raise ValueError(f"ogd:rows must be at least 1, got {rows}")

    def init(theta: Tensor) -> State:
        used = torch.zeros((), dtype=torch.int64, device=theta.device)
        return {"basis": theta.new_zeros(rows * model.num_tasks, len(theta)), "used": used}

    def gradient(gradient: Tensor, theta: Tensor, state: State, batch: Batch) -> Tensor:
        return gradient - part_of(gradient, state)

    def after_step(
        theta: Tensor, state: State, before: Tensor, gradient: Tensor, batch: Batch
    ) -> tuple[Tensor, State]:
        return theta - part_of(theta - before, state), state

    def end_task(theta: Tensor, state: State, samples: Batch) -> tuple[Tensor, State]:
        found = output_gradients(model, theta, samples, rows)
        basis = extend(state["basis"], found)
        return theta, {"basis": basis, "used": basis.any(1).sum()}

    return Method(
        "ogd",
        init=init,
        gradient=gradient if project == "gradient" else None,
        after_step=after_step if project == "step" else None,
        end_task=end_task,
    )


def part_of(vector: Tensor, state: State) -> Tensor:
    """The vector's part in the span of the basis, [parameters].

    On a GPU all rows are read, also those of zeros: what does not ask how many there are need not
    wait for the GPU, and becomes part of its graph.
    """
    if vector.device.type != "cpu":
        return spanned(vector, state["basis"])
    result: Tensor = within(vector, state["basis"], state["used"])
    return result


@torch.library.custom_op("retain::within", mutates_args=())
def within(vector: Tensor, basis: Tensor, used: Tensor) -> Tensor:
    """The vector's part in the span of the basis' rows.

    Memory is what limits it: only rows that are used are read, and once for both products.

    Args:
        vector: [..., parameters].
        basis: Orthonormal rows, then rows of zeros, [..., rows, parameters].
        used: How many rows are not zero, [...].
    """
    size = vector.shape[-1]
    result = torch.zeros_like(vector, memory_format=torch.contiguous_format)
    flat = (vector.reshape(-1, size), basis.reshape(-1, *basis.shape[-2:]), result.view(-1, size))
    step, counts = max(1, IN_CACHE // size), used.flatten().tolist()
    for own, rows, part, count in zip(*map(_array, flat), counts, strict=True):
        for start in range(0, count, step):
            block = rows[start : min(start + step, count)]
            part += (block @ own) @ block
    return result


def _array(tensor: Tensor) -> Any:
    """As an array: NumPy's products with a vector read a third faster than PyTorch's."""
    return tensor.numpy()


accept_members(within)


def spanned(vector: Tensor, basis: Tensor) -> Tensor:
    """The vector's part in the span of the basis' rows, [parameters]."""
    return (basis @ vector) @ basis


def orthogonal(vector: Tensor, basis: Tensor) -> Tensor:
    """The vector without that part, [parameters]."""
    return vector - spanned(vector, basis)


def output_gradients(model: Model, theta: Tensor, samples: Batch, rows: int) -> Tensor:
    """Gradients of Q(s, a) at up to `rows` of the samples, evenly spread, [rows, parameters]."""
    size = len(samples["action"])
    picked = torch.linspace(0, size - 1, min(rows, size)).long()
    few = {name: samples[name][picked] for name in ("inputs", "task", "action")}
    few["noise"] = samples["noise"]

    def chosen(point: Tensor) -> Tensor:
        return taken(model.q(point, few)[..., None], few["action"])[:, 0]

    result: Tensor = torch.func.jacrev(chosen)(theta)
    return result


def extend(basis: Tensor, found: Tensor) -> Tensor:
    """An orthonormal basis (Gram-Schmidt) of both spans, in as many rows as the basis has.

    Args:
        basis: Orthonormal rows, then rows of zeros: free room.
        found: Vectors, [n, parameters]; the last ones are left out where there is no room.
    """
    grown, used = basis.double(), int(basis.any(1).sum())
    for vector in found.double():
        new = orthogonal(orthogonal(vector, grown), grown)  # once more, for what rounding left in
        if used < len(grown) and new.norm() > SMALLEST * vector.norm():
            grown[used] = new / new.norm()
            used += 1
    return grown.to(basis)
