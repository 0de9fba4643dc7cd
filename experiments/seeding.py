"""Random streams: every user of random numbers has its own, made from a member's seed."""

from enum import IntEnum

import numpy as np


class Use(IntEnum):
    """What a stream is for; members with one seed share no stream between uses."""

    AGENT = 0
    MEMORY = 1
    EPISODE = 2
    EVALUATION = 3
    RANDOM_POLICY = 4


def stream(seed: int, use: Use, *path: int) -> np.random.Generator:
    """The generator of one use, further told apart by `path`."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(use, *path)))


def episode_seed(seed: int, use: Use, *path: int) -> int:
    """The seed of one episode."""
    return int(np.random.SeedSequence(seed, spawn_key=(use, *path)).generate_state(1)[0])
