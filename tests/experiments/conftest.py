"""A run of half a second, and what is left of it."""

import ast
import contextlib
import importlib
import inspect
import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from agents import compiling
from experiments import Config, Result, Stopped, train
from experiments.checkpoint import load_newest
from experiments.monitor import Monitor
from experiments.run import Run
from experiments.tracking import Tracker

# Everything that a test depends on: the defaults are free to change.
TOY: dict[str, Any] = {
    "envs": "retain/Recall:400,retain/RecallShifted:400",
    "agent": "dqn",
    "buffer": "hybrid",
    "capacity": 300,
    "rows_per_task": 40,
    "memory_share": 0.5,
    "clear_at_switch": True,
    "batch_size": 16,
    "train_interval": 8,
    "gradient_steps": 1,
    "learning_starts": 40,
    "epsilon_start": 1.0,
    "epsilon_end": 0.05,
    "epsilon_fraction": 0.5,
    "lasting_fraction": 1.0,
    "restart_schedules": True,
    "reset_optimizer": False,
    "adapt_fraction": 0.5,
    "seed": 0,
    "seeds": 1,
    "num_envs": 4,
    "eval_interval": 150,
    "eval_episodes": 3,
    "eval_interval_episodes": 2,
    "log_interval": 100,
    "interference_interval": 0,
    "checkpoint_interval": 100,
    "threads": 1,
    "methods": "distill",
    "network": "mlp",
    "hidden": (16,),
    "head": "per_task",
    "task_identity": "known",
    "double": True,
    "noisy": False,
    "distribution": "expectation",
    "discount": 0.9,
    "n_step": 1,
    "cut_at_exploration": True,
    "learning_rate": 1e-2,
    "learning_rate_end": 1e-3,
    "target_rate": 0.05,
    "target_update_interval": 1,
    "exploratory_steps": 1,
}


# What is refused beside another buffer.
OF_A_HYBRID = ("rows_per_task", "memory_share")


def toy_with(changes: dict[str, Any]) -> dict[str, Any]:
    """The toy run's options, some changed, without those that the buffer has no use for."""
    vain = OF_A_HYBRID if changes.get("buffer", "hybrid") != "hybrid" else ()
    return {name: value for name, value in TOY.items() if name not in vain} | changes


@pytest.fixture(autouse=True)
def numbered_event_files(monkeypatch):
    """Event files of one second are read in the order of their numbers, as text: 9 after 10."""
    counter = event_file_writer.AtomicCounter(0)
    monkeypatch.setattr(event_file_writer, "_global_uid", counter)


@pytest.fixture
def recording() -> None:
    """Ask for it where calls are to be recorded and replayed, as they are without a test."""


@pytest.fixture(autouse=True)
def plain_calls(request, monkeypatch):
    """Recording takes half of a toy run, and what is replayed has the same bits: test_compiling."""
    if "recording" not in request.fixturenames:
        monkeypatch.setattr(compiling, "PLAIN_CALLS", float("inf"))


@pytest.fixture(scope="session")
def meanings() -> Callable[[type], dict[str, str]]:
    """The text below each field of a class of options, in the source."""

    def read(options: type) -> dict[str, str]:
        found = {}
        for base in options.__mro__[:-1]:
            (node,) = ast.parse(inspect.getsource(base)).body
            for field, text in itertools.pairwise(node.body):
                is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
                if isinstance(field, ast.AnnAssign) and is_text:
                    found[field.target.id] = " ".join(text.value.value.split())
        return found

    return read


@pytest.fixture(scope="session")
def toy() -> dict[str, Any]:
    """The options of the toy run."""
    return dict(TOY)


@pytest.fixture
def config(tmp_path) -> Callable[..., Config]:
    """The toy run with some options changed."""

    def make(**changes: Any) -> Config:
        return Config(**toy_with({"logdir": str(tmp_path / "runs")} | changes))

    return make


@pytest.fixture
def flags() -> Callable[..., list[str]]:
    """The toy run as words of the command line, with some options changed."""

    def make(**changes: Any) -> list[str]:
        words = []
        for name, value in toy_with(changes).items():
            flag = name.replace("_", "-")
            if isinstance(value, bool):
                words.append(f"--{flag}" if value else f"--no-{flag}")
            else:
                values = value if isinstance(value, tuple) else (value,)
                words += [f"--{flag}", *map(str, values)]
        return words

    return make


@pytest.fixture
def make_run(config, tmp_path) -> Callable[..., Run]:
    """The parts of a toy run, for the loop alone: nothing is written."""
    return lambda **changes: Run(config(**changes), tmp_path / "nothing")


class Pixels(gym.Env):
    """Shows a picture."""

    observation_space = gym.spaces.Box(0, 255, (8, 8, 3), np.uint8)
    action_space = gym.spaces.Discrete(2)


gym.register("test/Pixels-v0", Pixels)


FAULTY = """
import gymnasium as gym
import numpy as np

from envs.toy import Recall


class NaNAfter(Recall):
    steps, after, what = 0, 100, "reward"

    def step(self, action):
        obs, reward, *rest = super().step(action)
        NaNAfter.steps += 1
        if NaNAfter.steps > NaNAfter.after:
            if self.what == "reward":
                reward = float("nan")
            else:
                obs = np.full_like(obs, np.inf)
        return obs, reward, *rest


gym.register("NaNAfter-v0", NaNAfter)
"""


@pytest.fixture
def faulty(monkeypatch, tmp_path) -> Any:
    """Environment `faulty:NaNAfter-v0`: after 100 steps of all its copies it pays NaN."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "faulty.py").write_text(FAULTY)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    yield importlib.import_module("faulty").NaNAfter
    del sys.modules["faulty"], gym.registry["NaNAfter-v0"]


@pytest.fixture
def no_pictures(monkeypatch):
    """Matplotlib takes longer than all the rest of a toy run."""
    monkeypatch.setattr(Tracker, "pictures", lambda *arguments: None)


@pytest.fixture
def looking(monkeypatch) -> Callable[[Callable[[Monitor], None]], Any]:
    """`with looking(see):` calls `see(monitor)` after each step, before the monitor acts."""

    @contextlib.contextmanager
    def context(see: Callable[[Monitor], None]):
        after_step = Monitor.after_step

        def both(monitor: Monitor, run: Run) -> None:
            see(monitor)
            after_step(monitor, run)

        with monkeypatch.context() as patch:
            patch.setattr(Monitor, "after_step", both)
            yield

    return context


@pytest.fixture
def stopped_at(looking) -> Callable[..., str]:
    """Trains until a signal comes at the given step; the words it stopped with."""

    def until(config: Config, step: int, number: int = signal.SIGINT) -> str:
        def see(monitor: Monitor) -> None:
            if monitor.run.clock.total == step:
                os.kill(os.getpid(), number)

        with looking(see), pytest.raises(Stopped) as stopped:
            train(config)
        return str(stopped.value)

    return until


def state_of(folder: Path) -> dict[str, Any]:
    state = load_newest(folder)[1]
    del state["clock"]["seconds"], state["clock"]["parts"]
    return state


def scalars_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if not tag.startswith(("speed/", "time/"))]
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags}


def assert_equal(mine: Any, other: Any, path: str = "") -> None:
    if isinstance(mine, dict):
        assert mine.keys() == other.keys(), path
        for key in mine:
            assert_equal(mine[key], other[key], f"{path}/{key}")
    elif isinstance(mine, np.ndarray):
        assert (mine.dtype, mine.shape) == (other.dtype, other.shape), path
        assert mine.tobytes() == other.tobytes(), path
    else:
        assert mine == other, path


@pytest.fixture
def same_bits() -> Callable[[Any, Any], None]:
    """Two trees have the same keys, and bitwise the same arrays."""
    return assert_equal


@pytest.fixture
def last_state() -> Callable[[Path], dict[str, Any]]:
    """The newest checkpoint of a run, but for the wall time."""
    return state_of


@pytest.fixture
def scalars() -> Callable[[Path], dict[str, list[tuple[int, float]]]]:
    """What TensorBoard shows of a run, [(step, value)] per tag, but for speed and time."""
    return scalars_of


@pytest.fixture
def same_outcome() -> Callable[[Result, Result], None]:
    """Two runs ended with the same weights, memories, random numbers, scores and scalars."""
    wall = {"config", "wall_seconds", "steps_per_second", "time_shares", "peak_memory_bytes"}

    def check(mine: Result, other: Result) -> None:
        assert_equal(state_of(mine.folder), state_of(other.folder))
        assert_equal(scalars_of(mine.folder), scalars_of(other.folder))
        summaries = [{k: v for k, v in r.summary.items() if k not in wall} for r in (mine, other)]
        assert_equal(*summaries)

    return check
