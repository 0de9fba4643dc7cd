"""Forgetting, and what prevents it: what is left of earlier tasks after later ones?

    python benchmarks/retention.py --seeds 10

Variants: the defaults (hybrid memory, distillation); `fifo`, recent steps only and no method, which
is plain fine-tuning; and controls between them. Retention is the ratio of a task's greedy return
after the last stage to its return right after it was learned, per member; for tasks with negative
returns both are measured from a random policy's. Kept in benchmarks/results/, with every member.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments import Config, train

RESULTS = Path(__file__).parent / "results"
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "fifo": {"buffer": "fifo", "methods": "none"},
    "fifo-carried-over": {"buffer": "fifo", "methods": "none", "clear_at_switch": False},
    "no-distillation": {"methods": "none"},
    "fifo-one-head": {"buffer": "fifo", "methods": "none", "head": "single"},
    "one-head": {"head": "single"},
    "task-as-input": {"head": "conditioned"},
}


def run(envs: str, variant: str, seeds: int, logdir: str, **changes: Any) -> dict[str, Any]:
    """One run of all members: the variant's changes to the defaults, and further ones."""
    name = f"retention-{envs.replace(',', '-')}-{variant}"
    config = Config(
        envs=envs, seeds=seeds, eval_interval=0, logdir=logdir, name=name, overwrite=True,
        **VARIANTS.get(variant, {}), **changes,
    )  # fmt: skip
    summary = train(config).summary
    scores, random = np.array(summary["scores"]), np.array(summary["reference"]["random"])
    tasks = summary["tasks"]
    learned = np.stack([scores[:, i + 1, i] for i in range(len(tasks))], axis=1)
    final = scores[:, -1]
    zero = np.where(random < 0, random, 0.0)[:-1]
    return {
        "envs": envs,
        "variant": variant,
        "tasks": tasks,
        "learned": learned.tolist(),
        "final": final.tolist(),
        "kept": ((final[:, :-1] - zero) / (learned[:, :-1] - zero)).tolist(),
        "seconds": summary["wall_seconds"],
    }


def add_rows(table: Table, result: dict[str, Any]) -> None:
    """A line of the table per task."""
    for task, name in enumerate(result["tasks"]):
        learned, final = (np.array(result[key])[:, task] for key in ("learned", "final"))
        last = task == len(result["tasks"]) - 1
        kept = np.array([]) if last else np.array(result["kept"])[:, task]
        table.add_row(
            result["variant"] if task == 0 else "",
            name,
            f"{learned.mean():.1f}",
            f"{final.mean():.1f}",
            "" if last else f"{kept.mean():.1%}",
            "" if last else f"{(kept >= 0.95).sum()} of {len(kept)}",
            " ".join(f"{value:.0f}" for value in final),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--envs", default="CartPole,Acrobot")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["defaults", "fifo"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--logdir", default="runs/benchmarks")
    args = parser.parse_args()
    table = Table(title=f"{args.envs}: greedy return, mean of {args.seeds} members")
    columns = ("setting", "task", "when learned", "at the end", "kept", ">= 95% kept", "members")
    for column in columns:
        table.add_column(column)
    for variant in args.variants:
        result = run(args.envs, variant, args.seeds, args.logdir)
        RESULTS.mkdir(exist_ok=True)
        file = f"retention_{args.envs.replace(',', '_')}_{variant.replace('-', '_')}.json"
        (RESULTS / file.lower()).write_text(json.dumps(result, indent=1))
        add_rows(table, result)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
