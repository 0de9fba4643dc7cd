"""CLEAR: on rows of earlier tasks, clone policy and state values of when their task ended.

Source: Rolnick et al. 2019 (arXiv 1811.11682), section 3: beside the usual loss on new and replayed
rows, replayed rows add KL(old policy || policy) and the squared change of the state's value.
Deviations: an agent with Q values has the policy softmax(Q / temperature) and the value max Q. The
temperature is `temperature` times the typical gap between a task's best and second best action, so
that preferences count alike in every task, whatever the scale of its Q values. What is cloned is of
the switch at which the row's task ended, not of when the row was stored (as for `distill`).
"""

from torch import Tensor

from agents.losses import mean_where
from agents.methods import labels
from agents.methods.method import Method, State, check_positive
from agents.model import Batch, Model


def clear(
    model: Model, *, policy: float = 0.1, value: float = 1.0, temperature: float = 1.0
) -> Method:
    """`policy` * KL(old policy || policy) + `value` * (max Q - max stored Q)^2, over labelled rows.

    With `policy` and `value` 0 it is the replay of the memory alone.

    Raises:
        ValueError: A temperature of 0, at which there is no policy to clone.
    """
    check_positive("clear", temperature=temperature)

    def loss(theta: Tensor, state: State, batch: Batch, q: Tensor) -> Tensor:
        tau = labels.temperatures(model, state, batch, temperature)
        divergence = labels.divergence(q, batch, tau)
        distance = labels.best_distance(q, batch).square()
        return mean_where(policy * divergence + value * distance, labels.labelled(batch))

    method = Method("clear", loss=loss, needs_q=True, needs_old=True)
    return labels.with_gaps(method, model)
