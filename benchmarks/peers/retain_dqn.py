"""Retain's DQN through `experiments.train`, with what the others do not have turned off.

No distillation, one-step rows, a memory of recent steps only, raw observations and rewards. Its
TensorBoard log, its final checkpoint and its evaluation before and after stay on; they are in
`whole_seconds`, and the log in `seconds` as well.
"""

import tempfile
from pathlib import Path

import numpy as np

from buffers import Column
from experiments import Config
from experiments import train as run
from experiments.options import Compile
from experiments.run import Run
from peers import Outcome, Setting
from peers.stopwatch import CACHED, Stopwatch

CHUNK = 10_000  # rows written at once


def config(setting: Setting, logdir: Path, **options: object) -> Config:
    """The setting in Retain's words."""
    fields = {
        "envs": setting.env_id, "steps": setting.steps, "seed": setting.seed,
        "hidden": (setting.hidden,) * 2, "batch_size": setting.batch_size,
        "capacity": setting.capacity, "learning_starts": setting.learning_starts,
        "learning_rate": setting.learning_rate, "learning_rate_end": setting.learning_rate,
        "adam_epsilon": setting.adam_epsilon, "gradient_clip": setting.gradient_clip,
        "discount": setting.discount, "target_rate": 1.0,
        "target_update_interval": setting.target_interval, "epsilon_start": 1.0,
        "epsilon_end": setting.epsilon_end, "epsilon_fraction": setting.epsilon_fraction,
        "eval_episodes": setting.eval_episodes, "eval_interval": 0, "checkpoint_interval": 0,
        "methods": "none", "buffer": "fifo", "double": False, "n_step": 1,
        "exploratory_steps": 1, "huber_delta": 1.0, "normalize_observations": False,
        "scale_rewards": False, "train_interval": 1, "gradient_steps": 1, "num_envs": 1,
        "logdir": str(logdir), "name": "speed",
    }  # fmt: skip
    return Config(**fields | options)


def train(
    setting: Setting, compile: Compile = "on", watch: Stopwatch | None = None, **options: object
) -> Outcome:
    """A run in a folder of its own, which is removed."""
    watch = watch or Stopwatch(compiling=CACHED)
    with tempfile.TemporaryDirectory() as folder:
        result = run(config(setting, Path(folder), compile=compile, **options), watch)
    summary = result.summary
    if summary["compiled"] != (compile == "on"):
        raise RuntimeError("nothing could be compiled")
    return Outcome(
        summary["environment_steps"], summary["gradient_steps"], watch.seconds(),
        result.scores[:, -1, 0].tolist(), watch.compile_seconds(),
    )  # fmt: skip


def fill(run: Run, rows: int) -> None:
    """Fills every member's memory with rows of no meaning."""
    rng, members = np.random.default_rng(0), run.config.seeds
    for first in range(0, rows, CHUNK):
        n = members * min(CHUNK, rows - first)
        data = {name: _column(column, n, rng) for name, column in run.memories.columns.items()}
        env = np.repeat(np.arange(members), n // members) * run.config.num_envs
        run.memories.add(data, env)


def _column(column: Column, n: int, rng: np.random.Generator) -> np.ndarray:
    if np.issubdtype(column.dtype, np.floating):
        return rng.standard_normal((n, *column.shape)).astype(column.dtype)
    return np.zeros((n, *column.shape), column.dtype)
