"""EWC: weights that earlier tasks' outputs depend on stay where those tasks left them.

Source: Kirkpatrick et al. 2017 (arXiv 1612.00796, equation 3), a quadratic around each task's
weights, weighted by the diagonal of its Fisher information; `mode=online`: Schwarz et al. 2018
(arXiv 1805.06370, equation 8), one quadratic around the latest weights, with importance <- gamma
importance + Fisher; there gamma multiplies the newest Fisher too, which is a factor of the
strength. All Fishers are exact means over the task's rows, one by one.

Deviations: each task's Fisher is divided by its mean over the weights that it has any of, so that a
strength means the same for every task and reward (`normalize=false`: as it is). A task that is
visited again counts once more, like a new one, around its new weights: `per_task` keeps the sum of
all quadratics, which is one quadratic, so that time and memory do not grow with the tasks.
"""

from typing import Literal

import torch
from torch import Tensor

from agents.losses import action_gap, mask_invalid
from agents.methods.importance import mean_over_rows, mean_squared_td_gradient
from agents.methods.method import Method, State, check_positive
from agents.methods.quadratic import Step, nothing_important, quadratic, summed, unit_mean
from agents.model import Batch, Model

Fisher = Literal["output", "policy", "td"]


def ewc(
    model: Model,
    *,
    strength: float = 100.0,
    step: Step = "implicit",
    mode: Literal["per_task", "online"] = "per_task",
    fisher: Fisher = "output",
    normalize: bool = True,
    gamma: float = 1.0,
    temperature: float = 1.0,
) -> Method:
    """Half of `strength` times the squared distance to earlier weights, weighted by their Fisher.

    Args:
        model: The network.
        strength: Of the pull.
        step: See `agents.methods.quadratic`.
        mode: A quadratic per task, or one for all around the latest weights.
        fisher: Of what; see `fisher_of`.
        normalize: Whether each task's Fisher is made to have the mean 1.
        gamma: What the Fisher of all earlier tasks is multiplied by at a switch; only online.
        temperature: Of the policy, in units of the task's mean action gap; only fisher=policy.

    Raises:
        ValueError: A gamma above 1, a temperature of 0, or either where it does nothing.
    """
    _check(mode, fisher, gamma, temperature)

    def end_task(theta: Tensor, state: State, samples: Batch) -> tuple[Tensor, State]:
        importance = fisher_of(model, theta, samples, fisher, temperature)
        importance = unit_mean(importance) if normalize else importance
        if mode == "per_task":
            return theta, summed(state, theta, importance)
        total = gamma * state["importance"] + importance
        return theta, {"importance": total, "anchor": theta.clone()}

    return quadratic("ewc", strength, step, init=nothing_important, end_task=end_task)


def _check(mode: str, fisher: Fisher, gamma: float, temperature: float) -> None:
    if gamma > 1:
        raise ValueError(f"ewc:gamma must lie between 0 and 1, got {gamma}")
    check_positive("ewc", temperature=temperature)
    if gamma != 1 and mode != "online":
        raise ValueError(f"ewc:gamma={gamma} does nothing with mode={mode}, only with mode=online")
    if temperature != 1 and fisher != "policy":
        only = "only with fisher=policy"
        raise ValueError(f"ewc:temperature={temperature} does nothing with fisher={fisher}, {only}")


def fisher_of(
    model: Model, theta: Tensor, batch: Batch, kind: Fisher, temperature: float = 1.0
) -> Tensor:
    """The diagonal of the Fisher information of a prepared batch's rows, [parameters].

    Args:
        model: The network.
        theta: Its parameters.
        batch: Prepared rows of one task.
        kind: `output`: of independent Gaussians of variance 1 around the Q values of all actions
            that the task has, the sum of their squared gradients. `policy`: of a softmax over Q
            values, its expectation over actions exact. `td`: the squared gradient of the TD loss
            (the empirical Fisher), which vanishes as the loss does.
        temperature: Of the softmax, in units of the batch's mean action gap.
    """
    if kind == "td":
        return mean_squared_td_gradient(model, theta, batch)
    if kind == "output":
        return mean_over_rows(model, theta, batch, _of_output)
    gap = action_gap(mask_invalid(model.q(theta, batch), batch["valid"])).mean()
    warmth = (temperature * gap).clamp(min=1e-6)

    def of_policy(jacobian: Tensor, q: Tensor, valid: Tensor) -> Tensor:
        chance = torch.softmax(mask_invalid(q, valid) / warmth, -1)[:, :, None]
        score = (jacobian - (chance * jacobian).sum(1, keepdim=True)) / warmth
        return (chance * score.square()).sum(1)

    return mean_over_rows(model, theta, batch, of_policy)


def _of_output(jacobian: Tensor, q: Tensor, valid: Tensor) -> Tensor:
    return jacobian.square().sum(1)
