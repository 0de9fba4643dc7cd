"""What the training loop needs of an agent, and what an agent needs of the environments."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from agents.exploration import Exploration
from agents.methods import Method

Features = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""`features(obs, task)`: what the last layer sees of [n, *shape] and [n], as [n, numbers]."""


class Space(Protocol):
    """What the agent needs to know of the environments (see envs.SharedSpace)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an observation."""

    @property
    def valid(self) -> np.ndarray:
        """Which actions a task has, bool `[tasks, actions]`."""

    @property
    def scale(self) -> np.ndarray:
        """What raw observations of each task are divided by, `[tasks]`."""


class Agent(Protocol):
    """Members that act and learn side by side; `agents.DQN` documents each part."""

    members: int
    exploration: Exploration

    @property
    def methods(self) -> Sequence[Method]: ...  # noqa: D102
    @property
    def needs_q(self) -> bool: ...  # noqa: D102
    @property
    def num_parameters(self) -> int: ...  # noqa: D102
    @property
    def nbytes(self) -> int: ...  # noqa: D102
    @property
    def compiled(self) -> bool: ...  # noqa: D102
    def compile(self, acting: bool = False) -> None: ...  # noqa: D102
    def q_of(self, member: int, obs: np.ndarray, task: int) -> np.ndarray: ...  # noqa: D102
    def features_of(self, member: int) -> Features: ...  # noqa: D102
    def act(  # noqa: D102
        self, obs: np.ndarray, task: int, epsilon: float, lasting: bool = True
    ) -> np.ndarray: ...
    def greedy(self, obs: np.ndarray, task: int) -> np.ndarray: ...  # noqa: D102
    def observe(  # noqa: D102
        self, obs: np.ndarray, reward: np.ndarray, ended: np.ndarray, task: int, adapt: bool
    ) -> None: ...
    def end_episodes(self, ended: np.ndarray) -> None: ...  # noqa: D102
    def update(  # noqa: D102
        self,
        data: Mapping[str, np.ndarray],
        weight: np.ndarray,
        steps: int,
        lr: float,
        then: tuple[np.ndarray, int] | None = None,
    ) -> tuple[np.ndarray, Mapping[str, np.ndarray]]: ...
    def rehearse(self, data: Mapping[str, np.ndarray]) -> None: ...  # noqa: D102
    def end_task(self, samples: Mapping[str, np.ndarray]) -> None: ...  # noqa: D102
    def start_task(self, task: int, reset_optimizer: bool) -> None: ...  # noqa: D102
    def state_dict(self) -> dict[str, Any]: ...  # noqa: D102
    def load_state_dict(self, state: dict[str, Any]) -> None: ...  # noqa: D102
