"""Every choice of a run beside those of its agent, with its default and its meaning."""

from dataclasses import dataclass
from typing import Literal

from envs import Vectorization

Compile = Literal["auto", "on", "off"]
CoresetFeatures = Literal["state", "state_action", "penultimate"]


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
    """Epsilon at the start of a task; before learning starts it is 1."""
    epsilon_end: float = 0.05
    """Epsilon once it has fallen."""
    epsilon_fraction: float = 0.2
    """Share of a task over which exploration falls."""
    lasting_fraction: float = 0.5
    """Share of a task in which exploratory actions may last; later each is one step."""
    restart_schedules: bool = True
    """Exploration and learning rate start anew with each task; otherwise they span the sequence."""
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
