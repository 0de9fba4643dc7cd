"""Single tasks: does the default setting learn each one, beside SB3's DQN with zoo settings?

    python benchmarks/single_task.py --tasks CartPole,Acrobot --seeds 10

One setting for all tasks of ours; SB3's settings are its zoo's, one per task. Ours trains ten
members in one process. The table is printed and kept, with every member, in benchmarks/results/.
SB3's half is made by benchmarks/sb3_single_task.py, and left out where its file is missing.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments import Config, train

RESULTS = Path(__file__).parent / "results"
STEPS = {"CartPole": 50_000, "Acrobot": 50_000, "MountainCar": 50_000, "LunarLander": 150_000}


def run_ours(task: str, seeds: int, logdir: str) -> dict[str, object]:
    """Greedy return of every member after training, and the seconds of the whole run."""
    config = Config(
        envs=task, steps=STEPS[task], seeds=seeds, eval_interval=0, logdir=logdir, overwrite=True,
        name=f"single-{task}",
    )  # fmt: skip
    result = train(config)
    returns = result.scores[:, -1, 0].tolist()
    return {
        "env": task,
        "steps": STEPS[task],
        "returns": returns,
        "seconds": result.summary["wall_seconds"],
    }


def row(who: str, result: dict[str, object]) -> list[str]:
    """A line of the table."""
    returns = np.array(result["returns"])
    members = " ".join(f"{value:.0f}" for value in returns)
    mean, spread = returns.mean(), returns.std(ddof=1) if len(returns) > 1 else 0.0
    return [
        str(result["env"]),
        who,
        f"{result['steps']:,}",
        f"{mean:.1f} ± {spread:.1f}",
        members,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", default="CartPole,Acrobot")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--logdir", default="runs/benchmarks")
    args = parser.parse_args()
    table = Table(title="greedy return over 20 episodes after training, mean ± deviation")
    for column in ("task", "agent", "steps", "mean ± sd", "members"):
        table.add_column(column)
    for task in args.tasks.split(","):
        ours = run_ours(task, args.seeds, args.logdir)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"single_{task.lower()}.json").write_text(json.dumps(ours, indent=1))
        table.add_row(*row("Retain, defaults", ours))
        peer = RESULTS / f"sb3_{task.lower()}.json"
        if peer.exists():
            table.add_row(*row("SB3 DQN, zoo", json.loads(peer.read_text())))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
