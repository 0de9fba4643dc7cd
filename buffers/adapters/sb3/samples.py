"""What Stable-Baselines3 trains on."""

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor


class MemorySamples(NamedTuple):
    """What Stable-Baselines3 trains on, and what `with_feedback` needs beside it.

    Attributes:
        observations, actions, next_observations, dones, rewards, discounts: as of SB3's own
            `ReplayBufferSamples`; `discounts` is None unless rows are of several steps.
        weights: importance weights, [batch, 1]. SB3's own training steps do not read them.
        index: where each row is stored, int64 [batch].
    """

    observations: Any
    actions: Tensor
    next_observations: Any
    dones: Tensor
    rewards: Tensor
    discounts: Tensor | None
    weights: Tensor
    index: np.ndarray  # type: ignore[assignment]  # hides tuple.index, which no batch needs
