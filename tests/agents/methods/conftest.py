"""A network so small that what a method measures in it can be worked out by hand."""

import pytest
import torch
from torch import Tensor, nn

from agents.flat import FlatNetwork
from agents.model import Model
from agents.values import make_values


class Heads(nn.Module):
    """Q(s, a) of task k is weight[k, a] times s."""

    def __init__(self, tasks: int, actions: int, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(tasks, actions, inputs))

    def forward(self, obs: Tensor, task: Tensor) -> Tensor:
        return torch.einsum("nai,ni->na", self.weight[task], obs)


@pytest.fixture
def linear():
    """Two tasks, two actions of which the first task lacks one, two inputs, squared errors."""
    valid = torch.tensor([[True, False], [True, True]])
    return Model(FlatNetwork(Heads(2, 2, 2)), make_values("expectation", 1, 0.0, 5.0), valid)


@pytest.fixture
def theta():
    """Of `linear`: in either task Q(s) = s."""
    return torch.tensor([1.0, 0, 0, 1, 1, 0, 0, 1])


@pytest.fixture
def two_rows():
    """Prepared rows of `linear`: s = (1, 2) and (3, 0), with TD errors 3 and 1 in `theta`."""

    def of(task: int) -> dict[str, Tensor]:
        return {
            "seen": torch.tensor([[1.0, 2], [3, 0]]),
            "task": torch.tensor([task, task]),
            "valid": torch.tensor([[True, task == 1]] * 2),
            "action": torch.tensor([0, task]),
            "following": torch.tensor([[2.0], [5]]),
            "scaled_reward": torch.tensor([3.0, 1 if task else 4]),
            "worth": torch.tensor([0.5, 0]),
            "noise": torch.zeros(3, 0),
        }

    return of


@pytest.fixture
def prepared():
    """An agent's first member's parameters, and rows as its methods get them when a task ends."""

    def of(agent, data) -> tuple[Tensor, dict[str, Tensor]]:
        state = {name: tensor[0] for name, tensor in agent.state.items()}
        batch = {name: torch.from_numpy(column[0]) for name, column in data.items()}
        batch |= {name: batch[name].long() for name in ("action", "task")}
        batch["noise"] = torch.zeros(3, agent.learner.model.network.noise_size)
        return state["theta"], agent.learner.prepare(state, batch)

    return of
