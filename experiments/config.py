"""One typed configuration: what a run trains on, how, and where it is kept."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from agents import AGENTS, NETWORKS, DQNOptions
from agents.methods import check_methods
from buffers import BUFFERS, MEMORIES, RECENT
from buffers.names import check_known
from envs import Vectorization
from experiments.memory_options import check_used
from experiments.options import Compile, CoresetFeatures, RunOptions

MOST = 1_024  # threads or processes: no machine has more cores, and PyTorch crashes over a million


@dataclass(frozen=True)
class Flags(DQNOptions, RunOptions):
    """The command line's flags as they were typed; `Config` is the same, checked."""

    def __post_init__(self) -> None:
        """Checks nothing: a wrong value is reported in our words, not the parser's."""


@dataclass(frozen=True)
class Config(Flags):
    """Everything that decides a run. The fields are the command line's flags."""

    def __post_init__(self) -> None:
        """Refuses what cannot work, in one line.

        Raises:
            ValueError: Names the field, the value, and what is possible.
        """
        DQNOptions.__post_init__(self)
        check_methods(self.methods, self.task_identity == "known")
        check_known("compile", self.compile, get_args(Compile))
        check_known("coreset_features", self.coreset_features, get_args(CoresetFeatures))
        check_known("vectorization", self.vectorization, get_args(Vectorization))
        for field, registry in _REGISTRIES.items():
            check_known(field, getattr(self, field), registry)
        self._check(_POSITIVE, lambda value: value >= 1, "be at least 1")
        self._check(_NOT_NEGATIVE, lambda value: value >= 0, "not be negative")
        self._check(_SHARES, lambda value: 0 <= value <= 1, "lie between 0 and 1")
        self._check_most("threads")
        self._check_most("processes")
        if self.resume is None:  # what is given beside it is compared with the run's own
            check_used(self)
        if self.capacity < self.batch_size:
            raise ValueError(
                f"capacity {self.capacity} cannot hold one batch of {self.batch_size}: raise it"
            )
        if self.name is not None and (Path(self.name).name != self.name or self.name in ("", "..")):
            raise ValueError(f"name must be one folder's name, got {self.name!r}")

    def _check_most(self, field: str) -> None:
        """Refuses threads or processes that are neither `auto` nor as many as there can be."""
        value, bound = getattr(self, field), None
        if value == "auto":
            return
        if value < 1:
            bound = "least 1"
        elif value > MOST:
            bound = f"most {MOST}"
        elif field == "processes" and value > self.seeds and self.resume is None:
            bound = f"most one for each of {self.seeds} members"
        if bound:
            raise ValueError(f"{field} must be at {bound}, or auto, got {value}")

    def _check(self, fields: Sequence[str], fits: Callable[[float], bool], what: str) -> None:
        for field in fields:
            value = getattr(self, field)
            if value is not None and not fits(value):
                raise ValueError(f"{field} must {what}, got {value}")

    @property
    def members_per_process(self) -> int:
        """Members of a process; some may have one less."""
        return -(-self.seeds // int(self.processes))

    def to_json(self) -> dict[str, Any]:
        """The configuration as JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def deciding(self) -> dict[str, Any]:
        """What decides a run's numbers, as JSON values."""
        return {k: v for k, v in self.to_json().items() if k not in FREE_ON_RESUME}

    def check_deciding(self, other: dict[str, Any]) -> None:
        """Raises ValueError if a checkpoint was made with other options.

        Args:
            other: What decided it, as of `deciding`; a field that it lacks, of a later version, has
                its default, with which nothing changed. Its device may be another one: states are
                the same on all.

        Raises:
            ValueError: Names what differs.
        """
        mine, other = self.deciding(), Config().deciding() | other
        # Each process has a run of one.
        for name in sorted((mine.keys() | other.keys()) - {"device", "processes"}):
            if mine.get(name) != other.get(name):
                raise ValueError(
                    f"the checkpoint is of another configuration: its {name} is "
                    f"{other.get(name)}, here it is {mine.get(name)}"
                )

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Config":
        """The configuration that `to_json` gave.

        Raises:
            ValueError: A field that this version does not know.
        """
        if not isinstance(values, dict):
            raise ValueError(f"config.json must hold an object, not {values!r}")
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(Config)})
        if unknown:
            raise ValueError(f"config.json has the unknown field {unknown[0]!r}")
        return Config(**values | {"hidden": tuple(values["hidden"])})


_REGISTRIES: dict[str, dict[str, Any]] = {
    "agent": AGENTS,
    "buffer": BUFFERS,
    "memory": MEMORIES,
    "recent_kind": RECENT,
    "network": NETWORKS,
}
FREE_ON_RESUME = {"resume", "logdir", "name", "overwrite"}
_POSITIVE = (
    *("steps", "capacity", "rows_per_task", "batch_size", "train_interval", "gradient_steps"),
    *("seeds", "num_envs", "eval_episodes", "eval_interval_episodes", "log_interval"),
    "num_buffers",
)
_NOT_NEGATIVE = (
    *("learning_starts", "eval_interval", "interference_interval", "checkpoint_interval", "seed"),
    "priority_alpha",
)
_SHARES = (
    "memory_share",
    "priority_beta",
    "epsilon_start",
    "epsilon_end",
    "epsilon_fraction",
    "lasting_fraction",
    "adapt_fraction",
)
