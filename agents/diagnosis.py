"""Numbers that became NaN or infinite: seen at once, and explained afterwards.

Good updates pay for a look at two numbers of each member; which term is to blame is found by doing
them again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.learner import Learner, LearnerState
from agents.model import Batch
from agents.tensors import BatchTensors, minibatches


class NonFiniteLoss(ArithmeticError):
    """A loss, a gradient or a weight became NaN or infinite; the agent has its last good state."""


def check(
    learner: Learner,
    before: LearnerState,
    after: LearnerState,
    health: np.ndarray,
    info: Mapping[str, np.ndarray],
    given: tuple[Any, ...],
) -> None:
    """Refuses the state that a round of gradient steps came to if it is not finite.

    Args:
        learner: Of the agent.
        before: The state before the round.
        after: The state after it.
        health: Two numbers of each member that are finite if all is well; see `Engine.update`.
        info: The round's metrics.
        given: The round's `data`, `weight`, `noise` and `lr`.

    Raises:
        NonFiniteLoss: Says which term is to blame, and in which members.
    """
    if isfinite(sum(map(sum, health.tolist()))):
        return
    # Weights may be finite though their sum is not.
    good = good_members({**info, "loss": health[0]}, after)
    if good.all():
        return
    batches = (minibatches(call)[0] for call in BatchTensors(before["theta"].device).of(*given))
    what, members = spoiler(learner, before, batches), np.flatnonzero(~good).tolist()
    raise NonFiniteLoss(f"{what} became NaN or infinite in member {members}")


def good_members(info: Mapping[str, Tensor | np.ndarray], state: LearnerState) -> np.ndarray:
    """Whose loss, gradient and weights are finite numbers, bool `[members]`."""
    numbers = np.isfinite(np.asarray(info["loss"])) & np.isfinite(np.asarray(info["gradient_norm"]))
    weights: np.ndarray = state["theta"].isfinite().all(1).cpu().numpy()
    return numbers & weights


@torch.no_grad()
def spoiler(learner: Learner, state: LearnerState, batches: Iterable[Batch]) -> str:
    """What made the first of these updates that fails do so, in words.

    Args:
        learner: Of the agent.
        state: Before the first update; leading axis of members.
        batches: One for each update, in order.
    """
    for batch in batches:
        after, info = learner.update(state, batch)
        if not good_members(_on_cpu(info), after).all():
            return _first_to_fail(learner, state, batch)
        state = after
    return "the recorded update (not the same one in Python)"


def spoiled(before: LearnerState, after: LearnerState) -> list[str]:
    """Names of tensors in the state that were finite before, and are not after."""
    return [n for n, t in after.items() if not t.isfinite().all() and before[n].isfinite().all()]


def _first_to_fail(learner: Learner, state: LearnerState, batch: Batch) -> str:
    """Adds one method after the other to plain DQN, until the update fails."""
    for count in range(len(learner.methods) + 1):
        methods = learner.methods[:count]
        after, tensors = replace(learner, methods=methods).update(state, batch)
        info = _on_cpu(tensors)
        if not good_members(info, after).all():
            break
    name = methods[-1].name if methods else "td"
    own = [f"{name}_loss", f"{name}_penalty"]
    terms = [term for term in own if term in info and not np.isfinite(info[term]).all()]
    if terms:
        return terms[0]
    if not np.isfinite(info["gradient_norm"]).all():
        return f"the gradient with {name}" if methods else "the gradient of td_loss"
    return f"the weights after {name}'s step" if methods else "the weights after Adam's step"


def _on_cpu(info: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.detach().cpu().numpy() for name, tensor in info.items()}
