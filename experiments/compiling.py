"""What of a run is compiled."""

import logging

from agents.compiling import missing_compiler
from experiments.config import Config

LOG = logging.getLogger("retain")
WORTHWHILE = 30_000  # calls: compiling takes 4 to 10 s and then saves 0.1 to 0.3 ms each


def compiles(config: Config, steps: int) -> bool:
    """Whether to compile, from the configuration alone: a resumed run must do as it did before.

    Args:
        config: Its `compile` asks for it, forbids it, or leaves it to the length of the run.
        steps: Environment steps of a member over the whole sequence.
    """
    updates = steps // config.train_interval * config.gradient_steps
    if config.compile == "off" or (config.compile == "auto" and updates < WORTHWHILE):
        return False
    if problem := missing_compiler():
        LOG.warning("nothing can be compiled here, so the run is slower: %s", problem)
    return not problem


def compiles_acting(config: Config, steps: int) -> bool:
    """Whether a run that is compiled compiles what it does at every step too, not only updates."""
    return config.compile == "on" or steps // config.num_envs >= WORTHWHILE
