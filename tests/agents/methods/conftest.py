"""What methods are given: one member's prepared batch, stored values, tasks that conflict."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from agents import DQN, Method
from agents.flat import FlatNetwork
from agents.model import Model
from agents.values import make_values

TASKS = np.ones((3, 3), bool)


@pytest.fixture(scope="session")
def prepared() -> Callable[..., dict[str, torch.Tensor]]:
    """The first member's rows, prepared."""

    def make(agent: DQN, data: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
        columns = {name: torch.from_numpy(column[0].copy()) for name, column in data.items()}
        columns |= {name: columns[name].long() for name in ("action", "task")}
        columns["weight"] = torch.ones(len(columns["reward"]))
        columns["noise"] = torch.zeros(3, agent.learner.model.network.noise_size)
        state = {name: tensor[0] for name, tensor in agent.state.items()}
        return agent.learner.prepare(state, columns)

    return make


@pytest.fixture(scope="session")
def call() -> Callable[..., torch.Tensor]:
    """A method's loss for the first member, or for other parameters than its own."""

    def of(
        agent: DQN, method: Method, batch: dict[str, torch.Tensor], theta: Any = None
    ) -> torch.Tensor:
        state = {name: tensor[0] for name, tensor in agent.state.items()}
        theta = state["theta"] if theta is None else theta
        q = agent.learner.model.q(theta, batch)
        return method.loss(theta, method.own(state), batch, q)

    return of


@pytest.fixture
def gradient(agent, learn) -> Callable[..., Tensor]:
    """What fresh agents that learn task 2 step by, [members, parameters].

    Adam's first moment after one step is a tenth of the gradient.
    """

    def of(data, weight=None, seeds=(0,), **changed) -> Tensor:
        mine = agent(seeds, valid=TASKS, gradient_clip=0.0, **changed)
        mine.start_task(2, reset_optimizer=False)
        learn(mine, data, weight)
        return 10 * mine.state["adam_mean"]

    return of


@pytest.fixture(scope="session")
def labelled() -> Callable[..., dict[str, np.ndarray]]:
    """Rows that carry what an agent says now, plus `shift`, as the switch would label them."""

    def make(agent: DQN, data: dict[str, np.ndarray], shift: Any = 0.0) -> dict[str, np.ndarray]:
        q = agent.q(data["state"], data["task"]) + np.float32(shift)
        return data | {"q": np.where(np.isfinite(q), q, np.nan).astype(np.float32)}

    return make


@pytest.fixture
def opposed(rows) -> Callable[..., dict[str, np.ndarray]]:
    """Rows of tasks that want the opposite of task 2's at the same states, [members, 3 * n]."""

    def make(seeds=(0,), tasks=(0, 1, 2), n: int = 4) -> dict[str, np.ndarray]:
        parts = []
        for task in tasks:
            part = rows([10 * seed + max(task, 1) for seed in seeds], n=n, task=1)
            same = rows([10 * seed + 2 for seed in seeds], n=n, task=1)
            part |= {name: same[name] for name in ("action", "state")}
            reward = 3 * np.abs(part["reward"]) + 1
            part |= {"reward": reward if task == 2 else -reward, "task": 0 * part["task"] + task}
            parts.append(part)
        return {name: np.concatenate([part[name] for part in parts], 1) for name in parts[0]}

    return make


@pytest.fixture
def of_task() -> Callable[..., dict[str, np.ndarray]]:
    """The rows of some tasks, where every member has as many."""

    def pick(data: dict[str, np.ndarray], *tasks: int) -> dict[str, np.ndarray]:
        chosen = np.isin(data["task"], tasks)
        members = len(chosen)
        return {n: c[chosen].reshape(members, -1, *c.shape[2:]) for n, c in data.items()}

    return pick


@pytest.fixture
def learned(agent, rows, learn) -> Callable[..., Tensor]:
    """Weights after twenty steps on rows of one task, which is running."""

    def after(**changed) -> Tensor:
        mine = agent(valid=TASKS, **changed)
        mine.start_task(1, reset_optimizer=False)
        for step in range(20):
            learn(mine, rows((step,), task=1))
        return torch.as_tensor(mine.state["theta"])

    return after


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
            "inputs": torch.tensor([[1.0, 2], [3, 0]]),
            "task": torch.tensor([task, task]),
            "valid": torch.tensor([[True, task == 1]] * 2),
            "action": torch.tensor([0, task]),
            "next_outputs": torch.tensor([[2.0], [5]]),
            "scaled_reward": torch.tensor([3.0, 1 if task else 4]),
            "bootstrap_discount": torch.tensor([0.5, 0]),
            "noise": torch.zeros(3, 0),
        }

    return of
