"""Do eager, compiled and population runs learn the same? Final returns of ten members each.

The members of a kind have the same seeds, but not the same last bits: a choice between two nearly
equal actions falls otherwise sooner or later, and from then on they are runs like any other two.
So what must agree are the means, not the members.
"""

import tempfile
from typing import Any, Literal

import numpy as np

MEMBERS = 10
# Name -> --compile, and how many members learn at once.
KINDS: dict[str, tuple[Literal["off", "on"], int]] = {
    "eager, ten at once": ("off", MEMBERS),
    "compiled, ten at once": ("on", MEMBERS),
    "compiled, one by one": ("on", 1),
}


def returns(kind: str, steps: int, seed: int) -> list[float]:
    """Final greedy returns of ten members at CartPole, trained with the defaults."""
    from peers.stopwatch import Stopwatch

    from experiments import Config, train

    compile, at_once = KINDS[kind]
    found: list[float] = []
    for first in range(seed, seed + MEMBERS, at_once):
        with tempfile.TemporaryDirectory() as folder:
            config = Config(
                envs="CartPole", steps=steps, seed=first, seeds=at_once, compile=compile,
                eval_interval=0, checkpoint_interval=0, logdir=folder,
            )  # fmt: skip
            found += train(config, Stopwatch()).scores[:, -1, 0].tolist()
    return found


def summary(found: list[float]) -> dict[str, Any]:
    """Mean and 95% interval over members, beside each of them."""
    from experiments.metrics import interval

    return {"returns": found, **interval(np.array(found))}
