"""Rows of three tasks of which the last is running, and the gradient that an agent steps by."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

TASKS = np.ones((3, 3), bool)


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
