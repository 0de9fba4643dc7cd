"""What becomes of the learner's state where one task ends and the next begins.

Rare and not recorded: members are looked at one after the other, so that methods may take the
memory that they need for one of them only.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from agents.diagnosis import NonFiniteLoss, spoiled
from agents.learner import Learner, LearnerState
from agents.members import member_of, stack

Moment = Literal["end_task", "start_task"]


@torch.no_grad()
def end_task(learner: Learner, state: LearnerState, samples: Mapping[str, Tensor]) -> LearnerState:
    """The state after the methods took in a task that ends.

    Args:
        learner: Of the agent.
        state: Leading axis of members.
        samples: Rows of the task, `[members, n, ...]`; `noise` `[members, 3, noise]`.

    Raises:
        NonFiniteLoss: What a method keeps became NaN or infinite.
    """
    return _each_member(learner, "end_task", state, samples)


@torch.no_grad()
def start_task(
    learner: Learner, state: LearnerState, task: int, reset_optimizer: bool
) -> LearnerState:
    """The state in which a task begins: without running returns, and maybe with a new Adam.

    Args:
        learner: Of the agent.
        state: Leading axis of members.
        task: Index of the task.
        reset_optimizer: Whether Adam starts anew.

    Raises:
        NonFiniteLoss: As `end_task` does.
    """
    if any(method.start_task for method in learner.methods):
        state = _each_member(learner, "start_task", state)
    now = {"task": torch.full_like(state["task"], task)}
    names = ("adam_mean", "adam_square", "adam_steps") if reset_optimizer else ()
    anew = {name: torch.zeros_like(state[name]) for name in ("running_return", *names)}
    return state | now | anew


def _each_member(
    learner: Learner, moment: Moment, state: LearnerState, *samples: Mapping[str, Tensor]
) -> LearnerState:
    """Lets the methods act on one member after another."""
    members = range(len(state["theta"]))
    own = [[member_of(tree, member) for tree in (state, *samples)] for member in members]
    after = stack([at_switch(learner, moment, *trees) for trees in own])
    if names := spoiled(state, after):
        when = "ended" if moment == "end_task" else "began"
        raise NonFiniteLoss(f"{', '.join(names)} became NaN or infinite when the task {when}")
    return after


def at_switch(
    learner: Learner, moment: Moment, state: LearnerState, *samples: dict[str, Tensor]
) -> LearnerState:
    """One member's state after all methods acted, one after the other.

    Weights that a method moves are moved in the target too: it must not pull them back.
    """
    before, prepared = state["theta"], [learner.prepare(state, rows) for rows in samples]
    for method in learner.methods:
        if act := getattr(method, moment):
            theta, own = act(state["theta"], method.own(state), *prepared)
            state = method.put(state | {"theta": theta}, own)
    target = torch.where(state["theta"] == before, state["target"], state["theta"])
    return state | {"target": target}
