"""Do eager, compiled and population runs learn the same? Final returns of ten members each.

The members of a kind have the same seeds, but not the same last bits: a choice between two nearly
equal actions falls otherwise sooner or later, and from then on they are runs like any other two.
So what must agree are the means, not the members.
"""

import tempfile
from typing import Any

import numpy as np

KINDS = ("eager, ten at once", "compiled, ten at once", "compiled, one by one")


def returns(kind: str, steps: int, seed: int) -> list[float]:
    """Final greedy returns of ten members at CartPole, trained with the defaults."""
    from peers.stopwatch import Stopwatch

    from experiments import Config, train

    compile, groups = ("off", 1) if kind.startswith("eager") else ("on", 1)
    if kind.endswith("one by one"):
        groups = 10
    found: list[float] = []
    for first in range(seed, seed + 10, 10 // groups):
        with tempfile.TemporaryDirectory() as folder:
            config = Config(
                envs="CartPole", steps=steps, seed=first, seeds=10 // groups, compile=compile,
                eval_interval=0, checkpoint_interval=0, logdir=folder,
            )  # fmt: skip
            found += train(config, Stopwatch()).scores[:, -1, 0].tolist()
    return found


def summary(found: list[float]) -> dict[str, Any]:
    """Mean and 95% interval over members, beside each of them."""
    from experiments.metrics import interval

    return {"returns": found, **interval(np.array(found))}
