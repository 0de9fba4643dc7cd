"""What a memory holds, in the logs of Stable-Baselines3: TensorBoard, CSV or the screen."""

import warnings

from stable_baselines3.common.callbacks import BaseCallback

from buffers import Memory
from buffers.adapters.sb3.replay import MemoryReplayBuffer
from buffers.views import coverage_by_task, figures, worth


class MemoryLog(BaseCallback):
    """Logs what the memory of a model holds: `model.learn(50_000, callback=MemoryLog())`.

    Under `memory/`: `rows`; `share/TASK` and `coverage/TASK` for each task held; `age_min`,
    `age_median` and `age_max` in rows; and of the last batch drawn `duplicates` and
    `effective_share`, as in `buffers.views`. When training ends it warns of what the memory's
    `idle()` says, if it says something.

    Args:
        every: Environment steps from one look to the next; each takes some milliseconds, of images
            and of millions of rows some tenths of a second.

    Raises:
        ValueError: `every` is below 1; or, when training starts, the model has no
            `MemoryReplayBuffer`.
    """

    def __init__(self, every: int = 5_000) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"every {every}: choose 1 step or more")
        self._every = every

    def _on_training_start(self) -> None:
        buffer = getattr(self.model, "replay_buffer", None)
        if not isinstance(buffer, MemoryReplayBuffer):
            raise ValueError(
                f"MemoryLog looks at a MemoryReplayBuffer, and this model has "
                f"{type(buffer).__name__}: make it with replay_buffer_class=MemoryReplayBuffer"
            )
        self._buffer, self._due = buffer, self.num_timesteps + self._every

    def _on_step(self) -> bool:
        if self.num_timesteps >= self._due:
            self._due = self.num_timesteps + self._every
            found = held_by(self._buffer.memory)
            if self._buffer.drawn is not None:
                found |= worth(*self._buffer.drawn)
            for name, value in found.items():
                self.logger.record(f"memory/{name}", value)
        return True

    def _on_training_end(self) -> None:
        if note := self._buffer.memory.idle():
            warnings.warn(f"memory: {note}", stacklevel=2)


def held_by(memory: Memory) -> dict[str, float]:
    """What a memory holds, by name; of no rows, only that there are none."""
    if not len(memory):
        return {"rows": 0}
    held = memory.describe()
    return figures(held, coverage_by_task(memory, map(int, held["share"])))
