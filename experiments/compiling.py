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
    too_few = config.compile == "auto" and updates_of(config, steps) < WORTHWHILE
    if config.compile == "off" or too_few:
        return False
    if problem := missing_compiler():
        LOG.warning("nothing can be compiled here, so the run is slower: %s", problem)
    return not problem


def updates_of(config: Config, steps: int) -> int:
    """About how many updates of a member a run has, of so many environment steps of a member."""
    return steps // config.train_interval * config.gradient_steps


def how_updates_run(config: Config, steps: int, compiled: bool) -> str:
    """How updates run in a run of so many environment steps of a member, in words."""
    where = "on 1 thread" if config.threads == 1 else f"on {config.threads} threads"
    if compiled:
        return f"updates run compiled {where}: the first one takes some ten seconds"
    if config.compile == "auto" and (updates := updates_of(config, steps)) < WORTHWHILE:
        return f"updates run eagerly {where}: {updates:,} do not win back the time of compiling"
    return f"updates run eagerly {where}"


def compiles_acting(config: Config, steps: int) -> bool:
    """Whether a run that is compiled compiles what it does at every step too, not only updates."""
    return config.compile == "on" or steps // config.num_envs >= WORTHWHILE
