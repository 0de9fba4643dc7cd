"""One DQN in several libraries, for benchmarks/speed.py: a file each, a line each in `PEERS`.

Each file has a function `train(setting) -> Outcome` and does the same work: as many environment
steps, one environment, one gradient step per environment step once learning has started, batches,
network, optimiser, loss, target copies and exploration of the one `Setting`. What a library does
otherwise stands at the top of its file. A peer whose library is not installed raises ImportError.
"""

import importlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
CLOCK = "SPEED_CLOCK"  # of the environment: which one, for a process and those it starts


def now() -> float:
    """Seconds, of the wall or of this process on its processor."""
    return CLOCKS[os.environ.get(CLOCK, "wall")]()


@dataclass(frozen=True)
class Setting:
    """What every peer does: DQN (Mnih et al. 2015) with the Huber loss, and no Double DQN."""

    steps: int = 30_000
    seed: int = 0
    hidden: int = 64  # width of each of two layers, ReLU
    batch_size: int = 64
    env_id: str = "CartPole-v1"
    capacity: int = 50_000
    learning_starts: int = 1_000  # random actions until then
    learning_rate: float = 1e-3  # Adam
    adam_epsilon: float = 1e-8
    gradient_clip: float = 10.0
    discount: float = 0.99
    target_interval: int = 250  # steps between two copies of the network
    epsilon_end: float = 0.05
    epsilon_fraction: float = 0.2  # of all steps, over which exploration falls
    eval_episodes: int = 20

    def epsilon(self, step: int) -> float:
        """Chance of a random action at this step."""
        if step < self.learning_starts:
            return 1.0
        passed = step / (self.epsilon_fraction * self.steps)
        return max(self.epsilon_end, 1.0 + (self.epsilon_end - 1.0) * passed)


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        steps: Environment steps of all members together.
        updates: Gradient steps of all members together.
        seconds: Of training, with nothing compiled in them.
        compile_seconds: Of compiling, at the first run on a machine.
        returns: Greedy return of each member after training, mean over episodes.
        whole_seconds: Everything from construction to evaluation; imports are not counted.
    """

    steps: int
    updates: int
    seconds: float
    returns: list[float]
    compile_seconds: float = 0.0
    whole_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Environment steps per second."""
        return self.steps / self.seconds


# name in the table -> module in this folder, what else its `train` takes
PEERS: dict[str, tuple[str, dict[str, Any]]] = {
    "SB3 DQN": ("sb3_dqn", {}),
    "CleanRL-style": ("cleanrl_dqn", {}),
    "Tianshou DQN": ("tianshou_dqn", {}),
    "TorchRL DQN": ("torchrl_dqn", {}),
    "JAX DQN, jit": ("jax_dqn", {}),
    "Retain, eager": ("retain_dqn", {"compile": "off"}),
    "Retain, compiled": ("retain_dqn", {"compile": "on"}),
    "Retain, compiled, bfloat16": ("retain_dqn", {"compile": "on", "precision": "bfloat16"}),
    "Retain, compiled, 10 members": ("retain_dqn", {"compile": "on", "seeds": 10}),
    "Retain, compiled, 10 members, 2 threads": (
        "retain_dqn",
        {"compile": "on", "seeds": 10, "threads": 2},
    ),
}


def run_peer(name: str, setting: Setting, **more: Any) -> Outcome:
    """Trains one peer in this process.

    Args:
        name: As in `PEERS`.
        setting: What it does.
        more: What its `train` takes beside what `PEERS` gives it.

    Raises:
        ImportError: Its library is not installed.
    """
    module, options = PEERS[name]
    train = importlib.import_module(f"peers.{module}").train
    start = now()
    outcome = train(setting, **options | more)
    return replace(outcome, whole_seconds=now() - start)


def evaluate(greedy: Callable[[np.ndarray], int], setting: Setting) -> float:
    """Mean return of greedy episodes in an environment of their own."""
    env, total = gym.make(setting.env_id), 0.0
    for episode in range(setting.eval_episodes):
        obs, _ = env.reset(seed=1_000_000 + 1_000 * setting.seed + episode)
        ended = False
        while not ended:
            obs, reward, terminated, truncated, _ = env.step(greedy(obs))
            total += float(reward)
            ended = terminated or truncated
    env.close()
    return total / setting.eval_episodes
