"""Per-task scales of observations and rewards, so that unlike tasks can share one network."""

import torch
from torch import Tensor

State = dict[str, Tensor]
CLIP = 10.0
REACH = 3.0  # the largest return of a task is scaled to this size


def scales_init(scale: Tensor, shape: tuple[int, ...], num_envs: int) -> State:
    """Statistics before the first observation.

    Args:
        scale: What raw observations of each task are divided by, [tasks].
        shape: Shape of an observation; a vector has statistics per entry, an image only `scale`.
        num_envs: Environments of a member.
    """
    size = shape if len(shape) == 1 else (1,) * len(shape)
    per_task = scale.reshape(-1, *[1] * len(size))
    return {
        "obs_count": torch.full((len(scale),), 1e-4),
        "obs_mean": torch.zeros(len(scale), *size),
        "obs_var": per_task.square() * torch.ones(len(scale), *size),
        "return_max": torch.zeros(len(scale)),
        "running_return": torch.zeros(num_envs),
    }


def normalize(state: State, obs: Tensor, task: Tensor, limit: float = CLIP) -> Tensor:
    """Observations with each task's mean 0 and variance 1, clipped to +-limit, [batch, *shape]."""
    mean, var = (state[name].index_select(0, task) for name in ("obs_mean", "obs_var"))
    scaled = (obs - mean) * (var + 1e-8).rsqrt()
    return scaled if limit == torch.inf else scaled.clamp(-limit, limit)


def observe(state: State, obs: Tensor, task: int | Tensor) -> State:
    """Running mean and variance of a task's observations after a batch (Chan et al. 1979).

    Args:
        state: The member's state.
        obs: [batch, *shape].
        task: Index of the task that they come from.
    """
    at = torch.as_tensor(task, device=obs.device).reshape(1)
    names = ("obs_count", "obs_mean", "obs_var")
    count, mean, var = (state[name].index_select(0, at)[0] for name in names)
    share = obs.shape[0] / (count + obs.shape[0])
    shift = obs.mean(0) - mean
    new_mean = mean + shift * share
    new_var = (
        (1 - share) * var + share * obs.var(0, correction=0) + shift.square() * share * (1 - share)
    )
    here = torch.arange(len(state["obs_count"]), device=obs.device) == task
    wide = here.reshape(-1, *[1] * mean.dim())
    return state | {
        "obs_count": torch.where(here, count + obs.shape[0], state["obs_count"]),
        "obs_mean": torch.where(wide, new_mean, state["obs_mean"]),
        "obs_var": torch.where(wide, new_var, state["obs_var"]),
    }


def observe_reward(
    state: State, reward: Tensor, ended: Tensor, discount: float, task: int | Tensor
) -> State:
    """The largest size of a task's running discounted return after one step of all environments.

    Args:
        state: The member's state.
        reward: [envs].
        ended: Whether the step ended the environment's episode, [envs].
        discount: Of the agent.
        task: Index of the task.
    """
    running = discount * state["running_return"] + reward
    here = torch.arange(len(state["return_max"]), device=reward.device) == task
    largest = torch.maximum(state["return_max"], running.abs().amax())
    return state | {
        "running_return": running.masked_fill(ended, 0.0),
        "return_max": torch.where(here, largest, state["return_max"]),
    }


def reward_scale(state: State) -> Tensor:
    """What each task's rewards are multiplied by, [tasks]; 1 before any reward was seen."""
    largest = state["return_max"]
    return torch.where(largest > 1e-8, REACH / largest.clamp(min=1e-8), 1.0)
