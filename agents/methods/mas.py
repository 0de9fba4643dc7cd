"""MAS: weights that the size of the outputs is sensitive to stay where earlier tasks left them.

Source: Aljundi et al. 2018 (arXiv 1711.09601), equation 2 for the squared length of the outputs:
importance is the mean over rows of |d |Q(s, .)|^2 / d theta|, summed over tasks, around the latest
weights; lambda = strength / 2. No labels are needed.
Deviations: only the actions that the task has count, and each task's importance is divided by its
mean over the weights that have any, as it grows with the square of the returns otherwise
(`normalize=false`).
"""

from torch import Tensor

from agents.methods.importance import mean_over_rows
from agents.methods.method import Method, State
from agents.methods.quadratic import Step, nothing_important, quadratic, unit_mean
from agents.model import Batch, Model


def mas(
    model: Model, *, strength: float = 10.0, step: Step = "implicit", normalize: bool = True
) -> Method:
    """Half of `strength` times the squared distance to earlier weights, weighted by sensitivity."""

    def end_task(theta: Tensor, state: State, samples: Batch) -> tuple[Tensor, State]:
        importance = sensitivity(model, theta, samples)
        importance = unit_mean(importance) if normalize else importance
        return theta, {"importance": state["importance"] + importance, "anchor": theta.clone()}

    return quadratic("mas", strength, step, init=nothing_important, end_task=end_task)


def sensitivity(model: Model, theta: Tensor, batch: Batch) -> Tensor:
    """Mean over a prepared batch's rows of |d |Q|^2 / d theta|, [parameters]."""

    def of_size(jacobian: Tensor, q: Tensor, valid: Tensor) -> Tensor:
        return (2 * q[:, :, None] * jacobian).sum(1).abs()

    return mean_over_rows(model, theta, batch, of_size)
