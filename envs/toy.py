"""Toy environments, learned in seconds and forgotten as fast: to test with, and to try things."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from envs.task import Task, find_task


class Recall(gym.Env[np.ndarray, int]):
    """Pays 1 for the action that belongs to the symbol shown; ten symbols make an episode.

    The perfect return is 10. Two recall tasks with different `shift` want different actions for
    the same observations: whatever one task teaches, the other one overwrites.

    Args:
        symbols: How many symbols there are; the observation is one-hot, [symbols].
        actions: How many actions there are; symbol s wants action (s + shift) % actions.
        shift: Which rule holds.
        length: Symbols in an episode.
        render_mode: Accepted for the interface; nothing is drawn.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        symbols: int = 4,
        actions: int = 4,
        shift: int = 0,
        length: int = 10,
        render_mode: str | None = None,
    ) -> None:
        self.observation_space = spaces.Box(0.0, 1.0, (symbols,), np.float32)
        self.action_space = spaces.Discrete(actions)  # type: ignore[assignment]
        self.symbols, self.actions, self.shift, self.length = symbols, actions, shift, length
        self.render_mode = render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Shows the first symbol."""
        super().reset(seed=seed)
        self._step = 0
        return self._show(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Pays for the answer and shows the next symbol."""
        reward = float(action == (self._symbol + self.shift) % self.actions)
        self._step += 1
        return self._show(), reward, self._step >= self.length, False, {}

    def _show(self) -> np.ndarray:
        self._symbol = int(self.np_random.integers(self.symbols))
        return np.eye(self.symbols, dtype=np.float32)[self._symbol]


def toy_sequence() -> tuple[Task, ...]:
    """Two rules for the same symbols, a few seconds to learn."""
    names = ("retain/Recall", "retain/RecallShifted")
    return tuple(find_task(name, steps=3_000) for name in names)


gym.register("retain/Recall-v0", "envs.toy:Recall")
gym.register("retain/RecallShifted-v0", "envs.toy:Recall", kwargs={"shift": 1})
gym.register("retain/RecallSmall-v0", "envs.toy:Recall", kwargs={"symbols": 3, "actions": 2})
