"""How Retain's cost grows: with members, hidden units, environments, tasks seen, rows stored.

Everything is compiled, updated once per environment step and measured without compiling. Each
function measures one point, in this process.
"""

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from peers import Setting

TASKS = ("retain/Recall", "retain/RecallShifted", "retain/RecallSmall", "CartPole")
ROUNDS = 5

POINTS: dict[str, list[int]] = {
    "members": [1, 2, 4, 10, 16, 32, 64],
    "hidden": [32, 64, 128, 256, 512, 1024],
    "envs": [1, 2, 4, 8, 16, 32],
    "memory": [1_000, 10_000, 100_000, 1_000_000],
}


def short(steps: int, **changes: Any) -> Setting:
    """A run that is only timed."""
    return Setting(steps=steps, learning_starts=64, eval_episodes=1, **changes)


def members(steps: int, count: int) -> dict[str, Any]:
    """So many members side by side, one environment and one update per step each."""
    return _rate(short(steps), seeds=count)


def hidden(steps: int, width: int) -> dict[str, Any]:
    """Two layers of this width."""
    return _rate(short(steps, hidden=width))


def envs(steps: int, count: int) -> dict[str, Any]:
    """So many environments of one member, still one update per environment step."""
    return _rate(short(steps), num_envs=count)


def memory(steps: int, rows: int) -> dict[str, Any]:
    """A memory of so many rows, full from the start."""
    from peers.retain_dqn import fill
    from peers.stopwatch import Stopwatch

    class Filling(Stopwatch):
        def start(self, run: Any) -> None:
            super().start(run)
            fill(run, rows)

    return _rate(short(steps, capacity=rows), watch=Filling())


def tasks(steps: int) -> dict[str, Any]:
    """Five rounds of four tasks, with the defaults: seconds of each visit and of each switch."""
    from peers.stopwatch import Stopwatch

    from experiments import Config, train

    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        config = Config(
            envs=",".join(TASKS * ROUNDS), steps=steps, learning_starts=200, eval_episodes=1,
            eval_interval=0, checkpoint_interval=0, compile="on", logdir=folder,
        )  # fmt: skip
        train(config, watch)
    visits = np.array([watch.seconds(stage) for stage in range(len(watch.times))])
    edges = [(times[0], times[-1]) for times in watch.times.values()]
    switches = [edges[i + 1][0] - edges[i][1] for i in range(len(edges) - 1)]
    rounds = visits.reshape(ROUNDS, len(TASKS)).sum(1)
    return {
        "tasks": TASKS, "steps": steps, "visit_seconds": visits.tolist(),
        "round_seconds": rounds.tolist(), "switch_seconds": switches,
        "last_round_over_second": float(rounds[-1] / rounds[1]),
    }  # fmt: skip


def _rate(setting: Setting, **options: Any) -> dict[str, Any]:
    from peers.retain_dqn import train

    outcome = train(setting, **options)
    return {
        "rate": outcome.rate,
        "seconds": outcome.seconds,
        "compile_seconds": outcome.compile_seconds,
    }


GROWTH: dict[str, Callable[[int, int], dict[str, Any]]] = {
    "members": members,
    "hidden": hidden,
    "envs": envs,
    "memory": memory,
}
