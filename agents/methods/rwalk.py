"""RWalk: EWC's importance from a running Fisher, plus a score of the way that the weights took.

Source: Chaudhry et al. 2018 (arXiv 1801.10112): the Fisher is a moving average over the steps
(equation 6), the score the drop of the loss over a few steps (equation 7) per step length in that
Fisher, and the importance the sum of the two (equation 8). The scores of earlier tasks and of the
one that ends are averaged; negative ones count as 0.

Deviations: Fisher and score are each divided by their mean over the weights that have any rather
than by their maximum, which a single weight decides. The average is slow (`rate` 0.01 in place of
the paper's 0.9, which keeps little but the last minibatch). The Fisher is that of the minibatch's
mean gradient, which costs nothing and is too small by about the size of the batch. Beside
`ogd:project=step`, which acts afterwards, the measured step still has the part that OGD takes back.
"""

from functools import partial

import torch
from torch import Tensor

from agents.methods.method import Method, State, check_positive
from agents.methods.quadratic import Step, nothing_important, quadratic, unit_mean
from agents.model import Batch, Model


def rwalk(
    model: Model,
    *,
    strength: float = 100.0,
    step: Step = "implicit",
    rate: float = 0.01,
    interval: int = 10,
    damping: float = 1e-7,
) -> Method:
    """Half of `strength` times the squared distance to earlier weights, by Fisher and score.

    Args:
        model: The network.
        strength: Of the pull; twice the paper's lambda.
        step: See `agents.methods.quadratic`.
        rate: Share of the newest minibatch in the running Fisher.
        interval: Steps over which a drop of the loss is measured.
        damping: Added to the length of a step, in units of divergence.

    Raises:
        ValueError: A rate above 1, or an interval or a damping of 0.
    """
    if not 0 < rate <= 1:
        raise ValueError(f"rwalk:rate must lie above 0 and up to 1, got {rate}")
    check_positive("rwalk", interval=interval, damping=damping)

    observe = partial(_observe, rate=rate, interval=interval, damping=damping)
    return quadratic("rwalk", strength, step, init=_init, observe=observe, end_task=_end_task)


def _init(theta: Tensor) -> State:
    zeros = torch.zeros_like(theta)
    kept = {name: zeros.clone() for name in ("fisher", "drop", "score", "earlier_score")}
    steps = torch.zeros((), dtype=torch.int64, device=theta.device)
    return nothing_important(theta) | kept | {"start": theta.clone(), "steps": steps}


def _observe(
    theta: Tensor,
    state: State,
    before: Tensor,
    gradient: Tensor,
    batch: Batch,
    *,
    rate: float,
    interval: int,
    damping: float,
) -> State:
    square, steps = gradient.square(), state["steps"] + 1
    fisher = torch.where(steps == 1, square, torch.lerp(state["fisher"], square, rate))
    drop = state["drop"] - gradient * (theta - before)
    state = state | {"fisher": fisher, "drop": drop, "steps": steps}
    return _scored(theta, state, steps % interval == 0, damping)


def _scored(theta: Tensor, state: State, due: Tensor, damping: float) -> State:
    """Where it is due, the drop per length of the way since `start` is scored; both begin anew."""
    length = 0.5 * state["fisher"] * (theta - state["start"]).square()
    return state | {
        "drop": torch.where(due, 0, state["drop"]),
        "score": state["score"] + torch.where(due, state["drop"] / (length + damping), 0),
        "start": torch.where(due, theta, state["start"]),
    }


def _end_task(theta: Tensor, state: State, samples: Batch) -> tuple[Tensor, State]:
    first = not bool(state["importance"].any())
    score = state["score"] if first else 0.5 * (state["earlier_score"] + state["score"])
    return theta, state | {
        "importance": unit_mean(state["fisher"]) + unit_mean(score.clamp(min=0)),
        "anchor": theta.clone(),
        "start": theta.clone(),
        "earlier_score": score,
        "score": torch.zeros_like(theta),
        "drop": torch.zeros_like(theta),
    }
