"""What a run measured, and what it noted for the next log."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agents.readings import Readings

# What a method may tell of itself (see agents.Learner): how names of such numbers end, and what
# they are, in words.
FIGURES = {
    "loss": "its loss was {:.1g} of the TD loss",
    "penalty": "its penalty was {:.1g} of the TD loss",
    "changed": "it changed the gradient of {:.1%} of the updates",
    "moved": "it moved the weights by {:.1g} of what the updates did",
}


@dataclass
class History:
    """What was measured.

    Attributes:
        random: Return of a random policy at each task.
        scores: One entry per row of the score matrix: `[members][tasks]`.
        curve: Evaluations in between: (total steps, stage, `[members][tasks]`).
        pending: What was noted and is not yet logged, per name of a scalar: [sum, count].
        acted: What the methods did in this stage, per number of the learner: [sum, count].
        interference: Per `stage/task`: how often what the stage did to that task was measured, and
            the sums of the cosine, the predicted and the measured change of loss.
        looked: Environment steps of each member at the last of these measurements.
    """

    random: list[float] = field(default_factory=list)
    scores: list[list[list[float]]] = field(default_factory=list)
    curve: list[tuple[int, int, list[list[float]]]] = field(default_factory=list)
    pending: dict[str, list[float]] = field(default_factory=dict)
    acted: dict[str, list[float]] = field(default_factory=dict)
    interference: dict[str, list[float]] = field(default_factory=dict)
    looked: int = 0

    def __post_init__(self) -> None:
        """Begins without updates that were not added up."""
        self._updates: list[Mapping[str, np.ndarray]] = []

    def note(self, name: str, values: np.ndarray) -> None:
        """Adds values to the mean that the next log shows."""
        _add_up(self.pending, name, np.asarray(values).reshape(1, -1))

    def note_update(self, info: Mapping[str, np.ndarray]) -> None:
        """Notes the learner's numbers, `[members]` each; they are added up when asked for."""
        self._updates.append(info)

    def settle(self) -> None:
        """Adds up the updates that were noted, one after the other: the same bits at any pace."""
        if not self._updates:
            return
        names = list(self._updates[0])
        numbers = np.array(
            [
                info.array if isinstance(info, Readings) else [info[name] for name in names]
                for info in self._updates
            ]
        )
        for name, values in zip(names, numbers.swapaxes(0, 1), strict=True):
            _add_up(self.pending, f"learner/{name}", values)
            if "_" in name and name.rpartition("_")[2] in FIGURES:
                _add_up(self.acted, name, values)
        self._updates = []

    def take_pending(self) -> dict[str, list[float]]:
        """What was noted since the last call, per name: [sum, count]."""
        self.settle()
        pending, self.pending = self.pending, {}
        return pending

    def take_means(self) -> dict[str, float]:
        """The means since the last call."""
        return {name: total / count for name, (total, count) in self.take_pending().items()}

    def state_dict(self) -> dict[str, Any]:
        """Every attribute, by its name."""
        self.settle()
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}


def _add_up(totals: dict[str, list[float]], name: str, values: np.ndarray) -> None:
    """Adds values `[times, numbers]` to [sum, count], one time after the other."""
    total = totals.setdefault(name, [0.0, 0])
    sums = values.sum(1, dtype=np.float64)
    total[0] = float(np.cumsum([total[0], *sums])[-1])
    total[1] += int(values.size)
