"""The learner: networks, losses, optimiser, DQN, and continual-learning methods."""

from collections.abc import Callable
from functools import partial

from agents.agent import Agent, Features
from agents.diagnosis import NonFiniteLoss
from agents.dqn import DQN
from agents.methods import METHODS, Method
from agents.networks import FOR_IMAGES, NETWORKS, NetworkSpec
from agents.options import DQNOptions
from agents.sb3 import SB3Agent, forced_options

AGENTS: dict[str, Callable[..., Agent]] = {
    "dqn": DQN,
    "sb3-dqn": partial(SB3Agent, "sb3-dqn"),
    "sb3-qrdqn": partial(SB3Agent, "sb3-qrdqn"),
}

__all__ = [
    "AGENTS",
    "DQN",
    "FOR_IMAGES",
    "METHODS",
    "NETWORKS",
    "Agent",
    "DQNOptions",
    "Features",
    "Method",
    "NetworkSpec",
    "NonFiniteLoss",
    "forced_options",
]
