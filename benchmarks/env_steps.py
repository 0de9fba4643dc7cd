"""Environment steps per second of each backend: ours in NumPy, Gymnasium's, and EnvPool's.

    python benchmarks/env_steps.py --out benchmarks/results/env_steps.json

"Alone" is a vector environment's `step` with its own autoreset; the other lines are our whole
step of a task (`envs.TaskEnvs`): a seed for every episode, true last observations, the check for
NaN, and what resuming needs. Actions are random. All lines of a table are timed in turn, several
rounds, and the best round counts: a busy machine then disturbs all alike. On a very busy one,
`--clock cpu` counts seconds of processor time of this process, all threads together (so without
workers). A backend that is not installed, or that a task does not have, is left out and named.
Only Gymnasium, NumPy and Rich are needed.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from rich.console import Console
from rich.table import Table

from envs import SharedSpace, Task, TaskEnvs, find_task
from envs.backends import make_native

BACKENDS = ("native", "sync", "async", "envpool")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Step = Callable[[np.ndarray], Any]


def seed(env: int, episode: int) -> int:
    """As a run makes it."""
    return int(np.random.SeedSequence(0, spawn_key=(2, 0, env, episode)).generate_state(1)[0])


def alone(task: Task, num_envs: int) -> dict[str, tuple[Step, Callable[[], None]]]:
    """Vector environments without us around them: (step, close)."""
    found: dict[str, Any] = {}
    if task.has_native:
        found["native, alone"] = make_native(task.env_id, num_envs, {}, AutoresetMode.NEXT_STEP)
    found["sync, alone"] = gym.make_vec(task.env_id, num_envs, "sync", disable_env_checker=True)
    try:
        import envpool

        found["envpool, alone"] = envpool.make_gymnasium(task.env_id, num_envs=num_envs, seed=0)
    except ImportError:
        pass
    for envs in found.values():
        envs.reset()
    return {name: (envs.step, envs.close) for name, envs in found.items()}


def ours(task: Task, num_envs: int, most: int) -> dict[str, tuple[Step, Callable[[], None]]]:
    """TaskEnvs over each backend that there is; workers only up to `most` of them."""
    found, space = {}, SharedSpace.of([task])
    for backend in BACKENDS:
        if backend == "async" and num_envs > most:
            continue
        try:
            envs = TaskEnvs(task, space, seed, num_envs, vectorization=backend)  # type: ignore
        except ValueError as error:
            print(f"{task.name}, {backend}: left out: {error}")
            continue
        found[backend] = (envs.step, envs.close)
    return found


def rates(steps: dict[str, Step], actions: np.ndarray, options: argparse.Namespace) -> dict:
    """Environment steps per second of each, in its best round."""
    best, clock = dict.fromkeys(steps, 0.0), CLOCKS[options.clock]
    for _ in range(options.rounds):
        for name, step in steps.items():
            start, count = clock(), 0
            while (spent := clock() - start) < options.seconds:
                for action in actions:
                    step(action)
                count += len(actions)
            best[name] = max(best[name], count * actions.shape[1] / spent)
    return best


def measure(task: Task, num_envs: int, options: argparse.Namespace) -> dict[str, float]:
    """Every backend's rate at one number of copies."""
    rng = np.random.default_rng(0)
    count = int(SharedSpace.of([task]).valid.sum())
    most = options.workers if options.clock == "wall" else 0
    found = ours(task, num_envs, most) | alone(task, num_envs)
    actions = rng.integers(count, size=(50, num_envs))
    try:
        steps = {name: step for name, (step, _) in found.items()}
        return rates(steps, actions, options)
    finally:
        for _, close in found.values():
            close()


def show(console: Console, task: Task, measured: dict[int, dict[str, float]]) -> None:
    """A table: a row per backend, a column per number of copies."""
    table = Table(title=f"{task.name}: thousands of environment steps per second")
    for column in ("", *(f"{n} envs" for n in measured)):
        table.add_column(column, justify="right")
    for name in dict.fromkeys(name for each in measured.values() for name in each):
        row = (each.get(name) for each in measured.values())
        table.add_row(name, *("" if rate is None else f"{rate / 1000:.1f}" for rate in row))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=["CartPole", "Acrobot", "MountainCar"])
    parser.add_argument("--num-envs", nargs="+", type=int, default=[1, 8, 32, 80])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each line in each round")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--workers", type=int, default=32, help="no async beyond so many")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    console, results = Console(width=100), {}
    for task in map(find_task, options.tasks):
        measured = {n: measure(task, n, options) for n in options.num_envs}
        show(console, task, measured)
        results[task.name] = measured
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "numpy": np.__version__}
    if options.out:
        options.out.write_text(
            json.dumps({"clock": options.clock, "machine": machine, "rates": results}, indent=1)
        )


if __name__ == "__main__":
    main()
