"""The members' memories as one: arrays with a leading axis of members."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from agents import Agent
from buffers import Column, Memory, Sample
from buffers.columns import needs_of
from buffers.intake import Intake
from buffers.layout import Layout
from buffers.together import Together
from buffers.views import coverage_by_task
from envs import SharedSpace
from experiments.config import Config
from experiments.memory_options import kinds_of, make_buffer
from experiments.seeding import Use, stream

AGE_BINS = 100


def columns_of(config: Config, space: SharedSpace, needs_q: bool) -> dict[str, Any]:
    """The columns of every buffer, as its constructor takes them."""
    extra = {"discount": Column((), np.float32, 1.0), **needs_of(*kinds_of(config))}
    if needs_q:
        extra["q"] = Column((space.num_actions,), np.float32, np.nan)
    return {"state": Column(space.shape, space.dtype), "extra": extra}


@dataclass(frozen=True)
class View:
    """What the first member's memory holds.

    Attributes:
        held: As `describe()` of the buffer.
        coverage: How different its rows of each task are; see `buffers.views.coverage`.
        ages: `np.histogram` of its rows' ages, `(rows, edges)`.
        idle: What to say if it never had to choose.
    """

    held: dict[str, Any]
    coverage: dict[int, float]
    ages: tuple[np.ndarray, np.ndarray]
    idle: str | None


class Memories:
    """One buffer per member.

    Args:
        buffers: The members' buffers, alike but for their seeds.
        num_envs: Environments of each member.
    """

    def __init__(self, buffers: Sequence[Memory], num_envs: int) -> None:
        self.buffers = tuple(buffers)
        self._firsts = np.arange(len(self.buffers) + 1) * num_envs  # environments of members
        self._layout = Layout(self.columns)
        self._intake = Intake(self._layout)
        self._heeding = any(buffer.needs_feedback for buffer in self.buffers)
        self._together: Together | None = None  # what drew the last sample

    @staticmethod
    def make(config: Config, space: SharedSpace, agent: Agent) -> "Memories":
        """Empty memories of this configuration, for what this agent learns from."""
        columns, buffers = columns_of(config, space, agent.needs_q), []
        for member in range(config.seeds):
            columns["seed"] = stream(config.seed + member, Use.MEMORY)
            features = partial(agent.features_of, member)
            buffers.append(make_buffer(config, features, **columns))
        return Memories(buffers, config.num_envs)

    @property
    def columns(self) -> dict[str, Column]:
        """Name -> column of every buffer."""
        return self.buffers[0].columns

    @property
    def drawable(self) -> bool:
        """Whether every member's buffer has a row to draw; some keep none for a while."""
        return all(buffer.drawable for buffer in self.buffers)

    def hold(self, task: int) -> bool:
        """Whether every member's buffer has a row of this task; some prefer those of others."""
        return all(len(buffer.rows(task)) for buffer in self.buffers)

    def add(self, rows: Mapping[str, np.ndarray], env: np.ndarray) -> None:
        """Gives each member its own rows.

        Args:
            rows: Columns of n rows, sorted by environment.
            env: The environment of each row; member m owns m * num_envs up to (m + 1) * num_envs.
        """
        if len(self.buffers) == 1:
            if len(env):
                self.buffers[0].add(rows)
            return
        if not len(env):
            return
        checked = self._intake.checked(rows)
        edges = tuple(env.searchsorted(self._firsts).tolist())
        for buffer, own in zip(self.buffers, checked.runs(self._layout, edges), strict=True):
            if own.n:
                buffer.add(own)

    def __len__(self) -> int:
        """Rows of the member that has fewest."""
        return min(len(buffer) for buffer in self.buffers)

    def sample(self, n: int) -> Sample:
        """`n` rows of every member, `[members, n, ...]`, in arrays that the next call reuses."""
        if self._together is None or self._together.sample.index.shape[1] != n:
            self._together = Together(self.buffers, n)
        return self._together.draw()

    def spread(self, task: int, n: int) -> dict[str, np.ndarray]:
        """`n` rows of one task, evenly spread over those stored, `[members, n, ...]`."""
        stored = [buffer.rows(task) for buffer in self.buffers]
        picked = [rows[np.linspace(0, len(rows) - 1, n).astype(int)] for rows in stored]
        parts = [buffer.read(rows) for buffer, rows in zip(self.buffers, picked, strict=True)]
        return {name: np.stack([part[name] for part in parts]) for name in parts[0]}

    def feedback(self, index: np.ndarray, td_error: np.ndarray) -> None:
        """Tells each buffer how wrong its member was on the rows drawn, `[members, n]`."""
        if self._heeding:
            for buffer, rows, errors in zip(self.buffers, index, td_error, strict=True):
                buffer.feedback(rows, errors)

    def label(self, task: int, q: Callable[[int, np.ndarray], np.ndarray]) -> None:
        """Writes the Q values of now on every row of a task that ends.

        Args:
            task: Index of the task.
            q: `q(member, obs [n, ...]) -> [n, actions]`; -inf where there is no action.
        """
        for member, buffer in enumerate(self.buffers):
            rows = buffer.rows(task)
            if len(rows):
                values = q(member, buffer.read(rows)["state"])
                buffer.write(rows, q=np.where(np.isfinite(values), values, np.nan))

    def end_task(self) -> None:
        """Tells every buffer that the stream goes on with another task."""
        for buffer in self.buffers:
            buffer.end_task()

    def view(self) -> View:
        """What the first member's memory holds."""
        buffer = self.buffers[0]
        held = buffer.describe()
        found = coverage_by_task(buffer, map(int, held["share"]))
        ages = np.histogram(buffer.ages(), AGE_BINS)
        return View(held, found, ages, buffer.idle())

    def state_dict(self) -> dict[str, Any]:
        """Every buffer's state."""
        return {str(member): buffer.state_dict() for member, buffer in enumerate(self.buffers)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        for member, buffer in enumerate(self.buffers):
            buffer.load_state_dict(state[str(member)])
