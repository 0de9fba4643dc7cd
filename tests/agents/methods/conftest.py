"""One member's state and prepared batch, as a method sees them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from agents import DQN, Method


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


@pytest.fixture(scope="session")
def labelled() -> Callable[..., dict[str, np.ndarray]]:
    """Rows that carry what an agent says now, plus `shift`, as the switch would label them."""

    def make(agent: DQN, data: dict[str, np.ndarray], shift: Any = 0.0) -> dict[str, np.ndarray]:
        q = agent.q(data["state"], data["task"]) + np.float32(shift)
        return data | {"q": np.where(np.isfinite(q), q, np.nan).astype(np.float32)}

    return make
