"""Learning without forgetting: the running task's rows keep the earlier tasks' answers in place.

Source: Li and Hoiem 2016 (arXiv 1606.09282): on the new task's data, each old task's outputs stay
near those of the network before the task. No row of an earlier task is needed.
Deviations: squared distance of Q values, which are in scaled returns, for the paper's softened
cross entropy of class probabilities; the heads are not trained alone first (no warm-up). Each row
is looked at as one earlier task, in turns, so that an update costs one pass of the network and one
of the teacher however many tasks there were: with more of them, each is seen on fewer rows.

What it holds depends on the head. `per_task`: the earlier tasks' heads. `conditioned`: what the
network would say if it were told an earlier task. `single`: an earlier task's answers are the
running task's own, so that it brakes all change.
"""

import torch
from torch import Tensor

from agents.losses import mean_where, task_mask
from agents.methods.method import Method, State
from agents.model import Batch, Model


def lwf(model: Model, *, strength: float = 1.0) -> Method:
    """Mean squared distance, on the running task's rows, of earlier tasks' Q to the teacher's.

    The teacher is the network at the last switch. It and the tasks seen are in the state.
    """

    def init(theta: Tensor) -> State:
        seen = torch.zeros(model.num_tasks, dtype=torch.bool, device=theta.device)
        turn = torch.zeros((), dtype=torch.int64, device=theta.device)
        return {"teacher": theta.clone(), "seen": seen, "turn": turn}

    def loss(theta: Tensor, state: State, batch: Batch, q: Tensor) -> Tensor:
        earlier, there = earlier_tasks(state, batch)
        taught = model.q(state["teacher"], batch, earlier)
        distance = (model.q(theta, batch, earlier) - taught).square()
        return strength * mean_where(distance, there[:, None] & model.valid[earlier])

    def after_step(
        theta: Tensor, state: State, before: Tensor, gradient: Tensor, batch: Batch
    ) -> tuple[Tensor, State]:
        return theta, state | {"turn": state["turn"] + 1}

    def end_task(theta: Tensor, state: State, samples: Batch) -> tuple[Tensor, State]:
        ended = task_mask(samples["task"][0], model.num_tasks)
        return theta, state | {"teacher": theta.clone(), "seen": state["seen"] | ended}

    return Method(
        "lwf", init=init, loss=loss, after_step=after_step, end_task=end_task, needs_tasks=True
    )


def earlier_tasks(state: State, batch: Batch) -> tuple[Tensor, Tensor]:
    """An earlier task for each row, [n], and whether it is one: of a row of the running task.

    The rows of the running task go through the tasks that have ended, beginning at `turn`.
    """
    allowed = state["seen"] & ~task_mask(batch["task"], len(state["seen"])).T  # [n, tasks]
    count = allowed.sum(1)
    number = ((~batch["old"]).cumsum(0) + state["turn"]) % count.clamp(min=1)
    # argmax of whole numbers: the first task at which the count of allowed ones exceeds `number`
    earlier = (allowed.cumsum(1) > number[:, None]).long().argmax(1)
    return earlier, ~batch["old"] & (count > 0)
