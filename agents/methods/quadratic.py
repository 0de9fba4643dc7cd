"""A pull of the weights towards an anchor, shared by the methods that differ only in its strength.

    0.5 * strength * sum_i importance_i * (theta_i - anchor_i)^2

It acts in one of two ways. `implicit`, after Adam's step, moves each weight to where that term's
own gradient step of size lr would end if it used the gradient at its end,

    theta <- (theta + lr strength importance anchor) / (1 + lr strength importance),

the proximal step (Parikh and Boyd 2014, Proximal Algorithms, section 4.2). It is decoupled from
Adam as weight decay is in AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101): a strength means
the same for every weight, no strength overshoots the anchor, and a large one freezes the weight. As
Adam moves a weight by about lr at most, that weight ends within 1 / (strength * importance) of its
anchor. `loss` adds the term's gradient to that of the data, as the papers do, through clipping and
Adam. Adam then divides by the gradient's own size: a weight that the data does not move goes to
its anchor at lr a step, whatever the strength, and one pulled hard swings about it.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from agents.methods.method import Method, State
from agents.model import Batch

Step = Literal["implicit", "loss"]
FROZEN = 1e20  # A strength beyond changes nothing but the risk of infinity times zero.


def stored(theta: Tensor, state: State) -> tuple[Tensor, Tensor]:
    """The importance and the anchor that the state holds."""
    return state["importance"], state["anchor"]


def quadratic(
    name: str,
    strength: float,
    step: Step,
    *,
    init: Callable[[Tensor], State] = lambda theta: {},
    pull: Callable[[Tensor, State], tuple[Tensor, Tensor]] = stored,
    observe: Callable[[Tensor, State, Tensor, Tensor, Batch], State] | None = None,
    end_task: Callable[[Tensor, State, Batch], tuple[Tensor, State]] | None = None,
) -> Method:
    """A method that pulls the weights towards an anchor.

    Args:
        name: Of the method.
        strength: Of the pull; 0 leaves the weights bit by bit as they are without it.
        step: `implicit` or `loss`; see the module.
        init: As in `Method`.
        pull: `pull(theta, state) -> (importance, anchor)`, of every weight or one for all.
        observe: `observe(theta, state, before, gradient, batch) -> state`, what the method notes of
            a step; see `Method.after_step`.
        end_task: As in `Method`.
    """
    strength = min(strength, FROZEN)

    def penalty(theta: Tensor, state: State, batch: Batch) -> Tensor:
        importance, anchor = pull(theta, state)
        return 0.5 * strength * (importance * (theta - anchor).square()).sum()

    def after_step(
        theta: Tensor, state: State, before: Tensor, gradient: Tensor, batch: Batch
    ) -> tuple[Tensor, State]:
        if step == "implicit":
            importance, anchor = pull(theta, state)
            theta = towards(theta, anchor, strength * batch["lr"] * importance)
        return theta, observe(theta, state, before, gradient, batch) if observe else state

    return Method(
        name,
        init=init,
        penalty=penalty if step == "loss" else None,
        after_step=after_step if step == "implicit" or observe else None,
        end_task=end_task,
    )


def towards(theta: Tensor, anchor: Tensor, pull: Tensor) -> Tensor:
    """(theta + pull anchor) / (1 + pull), exact at no pull and at the anchor."""
    return torch.lerp(theta, anchor, pull / (1 + pull))


def nothing_important(theta: Tensor) -> State:
    """The state before the first task has ended."""
    return {"importance": torch.zeros_like(theta), "anchor": theta.clone()}


def summed(state: State, theta: Tensor, importance: Tensor) -> State:
    """The state with one more quadratic in it: a sum of them is one around their weighted mean."""
    total = state["importance"] + importance
    share = torch.where(total > 0, importance / total, 0)
    anchor = torch.lerp(state["anchor"], theta, share)
    return {"importance": total, "anchor": anchor}


def unit_mean(importance: Tensor) -> Tensor:
    """The importance, divided by its mean over the weights that have any."""
    mean = importance.sum() / (importance != 0).sum().clamp(min=1)
    return importance / torch.where(mean > 0, mean, 1)
