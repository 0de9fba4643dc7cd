"""Where a run is, and where its time went."""

import time
from dataclasses import dataclass, field


@dataclass
class Clock:
    """Where a run is.

    Attributes:
        stage: The stage being trained; the number of stages once all are.
        step: Environment steps of each member in this stage.
        before: Environment steps of each member in all stages before it.
        updates: Gradient steps of each member.
        seconds: Wall time so far, over all parts of an interrupted run.
        parts: Where it went: seconds of each part of the work.
    """

    stage: int = 0
    step: int = 0
    before: int = 0
    updates: int = 0
    seconds: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Starts the timer that `mark` reads."""
        self._marked = time.perf_counter()

    def mark(self, part: str) -> None:
        """Notes that the time since the last mark went into this part of the work."""
        now = time.perf_counter()
        self.parts[part] = self.parts.get(part, 0.0) + now - self._marked
        self._marked = now

    @property
    def shares(self) -> dict[str, float]:
        """Share of the time so far that each part of the work took."""
        whole = sum(self.parts.values())
        return {part: seconds / whole for part, seconds in self.parts.items()}

    @property
    def total(self) -> int:
        """Environment steps of each member so far."""
        return self.before + self.step
