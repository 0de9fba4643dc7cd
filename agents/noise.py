"""The noise of noisy networks: an input of theirs, drawn anew for each pass."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Noise:
    """Draws each member's noise from its own generator; nothing where networks have none.

    Args:
        rngs: One generator per member.
        quiet: Noise that changes nothing, `[members, noise]`, where the noise is to be.

    Attributes:
        quiet: As given.
        size: Length of a pass's noise; 0 unless the network is noisy.
    """

    def __init__(self, rngs: Sequence[np.random.Generator], quiet: Tensor) -> None:
        self.quiet, self.size = quiet, quiet.shape[1]
        self._rngs = rngs
        self._silence: dict[int, Tensor] = {}  # what there is to draw where there is no noise

    def draw(self, passes: int) -> Tensor:
        """Noise of as many passes, `[members, passes, noise]`; without noise always the same."""
        if self.size == 0:
            if passes not in self._silence:
                self._silence[passes] = self.quiet.new_zeros(len(self.quiet), passes, 0)
            return self._silence[passes]
        drawn = [rng.standard_normal((passes, self.size), dtype=np.float32) for rng in self._rngs]
        return torch.from_numpy(np.stack(drawn)).to(self.quiet.device)
