"""The learner: networks, losses, optimiser, DQN, and continual-learning methods."""

from agents.dqn import DQN, NonFiniteLoss
from agents.methods import METHODS, Method
from agents.networks import NETWORKS, NetworkSpec
from agents.options import DQNOptions

AGENTS = {"dqn": DQN}

__all__ = [
    "AGENTS",
    "DQN",
    "METHODS",
    "NETWORKS",
    "DQNOptions",
    "Method",
    "NetworkSpec",
    "NonFiniteLoss",
]
