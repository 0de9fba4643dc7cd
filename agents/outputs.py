"""What one member's network says of the rows of a memory, however many they are."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from agents.agent import Features
from agents.flat import FlatNetwork
from agents.learner import Learner, LearnerState
from agents.networks import Penultimate

ROWS_AT_ONCE = 4_096  # of a pass over a whole memory


@torch.no_grad()
def q_of(learner: Learner, own: LearnerState, obs: np.ndarray, task: int) -> np.ndarray:
    """Q values of observations of one task, `[batch, actions]`, without noise.

    Args:
        learner: Of the agent.
        own: The member's state.
        obs: Raw observations, `[batch, *shape]`.
        task: Index of their task.
    """
    device, quiet = own["theta"].device, _quiet(learner.model.network, own)
    parts = torch.from_numpy(obs).to(device).split(ROWS_AT_ONCE)
    tasks = [torch.full((len(part),), task, device=device) for part in parts]
    values = [learner.q(own, quiet, *each) for each in zip(parts, tasks, strict=True)]
    return torch.cat(values).cpu().numpy()


def features_of(learner: Learner, own: Callable[[], LearnerState]) -> Features:
    """What the last layer sees of observations, without noise.

    Args:
        learner: Of the agent.
        own: Gives the member's state as it is when the features are asked for.

    Raises:
        ValueError: The network does not tell.
    """
    network = FlatNetwork(Penultimate(learner.model.network.network))

    @torch.no_grad()
    def features(obs: np.ndarray, task: np.ndarray) -> np.ndarray:
        state = own()
        device, quiet = state["theta"].device, _quiet(network, state)
        raw, tasks = (torch.from_numpy(array).to(device) for array in (obs, task))
        inputs, context = learner.normalize(state, raw, tasks), learner.model.context(tasks)
        return network(state["theta"], quiet, inputs, context.long()).cpu().numpy()

    return features


def _quiet(network: FlatNetwork, own: LearnerState) -> Tensor:
    return torch.zeros(network.noise_size, device=own["theta"].device)
