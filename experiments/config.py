"""One typed configuration: what a run trains on, how, and where it is kept."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from agents import AGENTS, NETWORKS, DQNOptions
from agents.methods import check_methods
from buffers import BUFFERS, MEMORIES, RECENT
from buffers.names import check_known
from envs import Vectorization
from experiments.memory_options import check_used

Compile = Literal["auto", "on", "off"]
CoresetFeatures = Literal["state", "state_action", "penultimate"]
MOST_THREADS = MOST_PROCESSES = (
    1_024  # more than any machine has cores: PyTorch would crash over a million
)


@dataclass(frozen=True)
class RunOptions:
    """The sequence, the memory, the clock and the files of a run."""

    envs: str = "CartPole,Acrobot"
    """Environments in order (`CartPole`, `CartPole-v1`, `CartPole:30000`), or a sequence's name."""
    steps: int = 50_000
    """Environment steps of each task that names none."""
    agent: str = "dqn"
    """Agent: `dqn`, or one of Stable-Baselines3: `sb3-dqn`, `sb3-qrdqn` (the extra `sb3`)."""
    buffer: str = "hybrid"
    """Memory: `hybrid` (recent steps, and rows of earlier tasks), `fifo` (recent steps only), or
    another of the registry: see docs/buffers.md."""
    memory: str = "reservoir"
    """What chooses the rows of each task in a hybrid memory: `reservoir`, or another buffer."""
    recent_kind: str = "fifo"
    """What holds the recent rows of a hybrid memory: `fifo`, `prioritized` or `rank`."""
    priority_alpha: float | None = None
    """Prioritised replay: how much TD errors count, 0: not at all; by default 0.6, by rank 0.7."""
    priority_beta: float | None = None
    """Prioritised replay: exponent of importance weights at first; by default 0.4, by rank 0.5."""
    num_buffers: int | None = None
    """`multi_timescale`: sub-buffers; by default 20."""
    coreset_features: CoresetFeatures = "state_action"
    """What a coreset compares rows by: `state`, `state_action`, or what the network's last layer
    sees of the state, `penultimate`, as it is at each choice."""
    capacity: int = 50_000
    """Recent transitions kept."""
    rows_per_task: int = 2_000
    """Transitions of each earlier task kept by a memory that keeps them."""
    memory_share: float = 0.5
    """Share of each batch drawn from earlier tasks, once there are any."""
    draw_current: bool = False
    """Draw the memory's rows of the running task too, so that its early days are not forgotten."""
    clear_at_switch: bool = True
    """Forget the recent transitions when a task ends."""
    batch_size: int = 128
    """Transitions per gradient step."""
    train_interval: int = 8
    """Environment steps of a member per round of gradient steps."""
    gradient_steps: int = 4
    """Gradient steps in a round."""
    learning_starts: int = 1_000
    """Environment steps of a task before its first gradient step."""
    epsilon_start: float = 1.0
    """Exploration at the start of a task."""
    epsilon_end: float = 0.05
    """Exploration once it has fallen."""
    epsilon_fraction: float = 0.2
    """Share of a task over which exploration falls."""
    lasting_fraction: float = 0.5
    """Share of a task in which exploratory actions may last; later each is one step."""
    restart_schedules: bool = True
    """Exploration and step size start anew with each task; otherwise they span the sequence."""
    reset_optimizer: bool = False
    """Adam's moments start anew with each task."""
    adapt_fraction: float = 0.5
    """Share of a task's first visit in which observation statistics still move."""
    seed: int = 0
    """Seed of the first member."""
    seeds: int = 1
    """Members trained side by side, with seeds from `seed` upwards."""
    num_envs: int = 8
    """Environments of each member."""
    vectorization: Vectorization = "auto"
    """What steps environments: `native` is ours, in NumPy, and `auto` takes it where there is such
    and it is faster than `sync`; `async` has a process for each; `envpool` needs that extra."""
    eval_interval: int = 5_000
    """Environment steps between two evaluations of every task; 0: at switches only."""
    eval_episodes: int = 20
    """Episodes of each evaluation at a switch."""
    eval_interval_episodes: int = 5
    """Episodes of each evaluation in between."""
    log_interval: int = 1_000
    """Environment steps between two points in TensorBoard."""
    interference_interval: int = 1_000
    """Environment steps between two looks at how learning acts on earlier tasks; 0: none."""
    checkpoint_interval: int = 10_000
    """Environment steps between two checkpoints; 0: at switches only."""
    compile: Compile = "auto"
    """Compile the update: `auto` does so where a run is long enough to win the time back."""
    threads: int | Literal["auto"] = "auto"
    """Threads of PyTorch: `auto` takes one for small networks, and for large ones what is faster
    here. A run keeps what was chosen; to repeat a run bit for bit, give its number."""
    processes: int | Literal["auto"] = 1
    """Processes that the members are spread over, which train side by side: `auto` takes one for
    each core. Called from Python, a script needs `if __name__ == "__main__":` for more than one."""
    logdir: str = "runs"
    """Folder of all runs."""
    name: str | None = None
    """Folder of this run inside `logdir`; by default made from what is trained."""
    resume: str | None = None
    """Run to go on with: its name in `logdir`, or its folder. It goes on as it was started: a flag
    that says something else is refused, but for one at its default, which counts as not given."""
    overwrite: bool = False
    """Replace a run that has this name."""


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
        if self.threads != "auto" and not 1 <= self.threads <= MOST_THREADS:
            bound = "least 1" if self.threads < 1 else f"most {MOST_THREADS}"
            raise ValueError(f"threads must be at {bound}, or auto, got {self.threads}")
        if self.processes != "auto":
            self._check_processes(self.processes)
        if self.resume is None:  # what is given beside it is compared with the run's own
            check_used(self)
        if self.capacity < self.batch_size:
            raise ValueError(
                f"capacity {self.capacity} cannot hold one batch of {self.batch_size}: raise it"
            )
        if self.name is not None and (Path(self.name).name != self.name or self.name in ("", "..")):
            raise ValueError(f"name must be one folder's name, got {self.name!r}")

    def _check_processes(self, processes: int) -> None:
        bound = None
        if processes < 1:
            bound = "least 1"
        elif processes > MOST_PROCESSES:
            bound = f"most {MOST_PROCESSES}"
        elif processes > self.seeds and self.resume is None:
            bound = f"most one for each of {self.seeds} members"
        if bound:
            raise ValueError(f"processes must be at {bound}, or auto, got {processes}")

    def _check(self, fields: Sequence[str], fits: Callable[[float], bool], what: str) -> None:
        for field in fields:
            value = getattr(self, field)
            if value is not None and not fits(value):
                raise ValueError(f"{field} must {what}, got {value}")

    def to_json(self) -> dict[str, Any]:
        """The configuration as JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def deciding(self) -> dict[str, Any]:
        """What decides a run's numbers, as JSON values."""
        return {k: v for k, v in self.to_json().items() if k not in FREE_ON_RESUME}

    def check_deciding(self, other: dict[str, Any]) -> None:
        """Refuses what another configuration made.

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
