"""What of a run is compiled."""

import logging

from agents.compiling import missing_compiler
from experiments.config import Config

LOG = logging.getLogger("retain")
# Compiling takes up to 10 s. An update of a small network then takes 0.33 ms less, of ten 1.05 ms.
COMPILING, SAVED, SAVED_PER_MEMBER = 10.0, 0.25e-3, 0.08e-3  # s
MANY_STEPS = 30_000  # of the environments, until compiling what is done at each pays


def compiles(config: Config, steps: int) -> bool:
    """Whether to compile, from the configuration alone: a resumed run must do as it did before.

    Args:
        config: Its `compile` asks for it, forbids it, or leaves it to the length of the run.
        steps: Environment steps of a member over the whole sequence.
    """
    if config.compile == "off" or (config.compile == "auto" and not _pays(config, steps)):
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
    if config.compile != "auto" or _pays(config, steps):
        return f"updates run eagerly {where}"
    updates = updates_of(config, steps)
    return f"updates run eagerly {where}: {updates:,} do not win back the time of compiling"


def compiles_acting(config: Config, steps: int) -> bool:
    """Whether a run that is compiled compiles what it does at every step too, not only updates."""
    return config.compile == "on" or steps // config.num_envs >= MANY_STEPS


def _pays(config: Config, steps: int) -> bool:
    """Whether all updates together save at least what compiling takes."""
    saved = SAVED + SAVED_PER_MEMBER * config.members_per_process
    return updates_of(config, steps) * saved >= COMPILING
