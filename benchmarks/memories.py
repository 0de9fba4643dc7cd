"""Which rows of an earlier task are worth keeping? Every memory at equal size, all else the same.

    python benchmarks/memories.py --rows 500 2000 --seeds 10

CartPole, then Acrobot, with the defaults, but for what chooses the rows of CartPole that are kept
and how many. Kept is the ratio of CartPole's greedy return after Acrobot to that right after it was
learned, per member. `--methods none` leaves distillation out: rows alone then hold CartPole.
`balanced` parts its rows among tasks itself: it is the whole memory, without recent rows beside it.
Each run is kept in benchmarks/results/; `--table` only prints what is there.
"""

import argparse
import json

import numpy as np
from replay_adds import once
from retention import RESULTS, run
from rich.console import Console
from rich.table import Table

from buffers import MEMORIES
from experiments.metrics import interval

ENVS = "CartPole,Acrobot"
WHOLE = "balanced"  # is the buffer, not a part of one
KINDS = [*once(MEMORIES), WHOLE]


def changes_for(kind: str, rows: int) -> dict[str, object]:
    """What differs from the defaults, for `rows` rows that this kind of memory chooses."""
    if kind == WHOLE:
        return {"buffer": kind, "capacity": rows}
    return {"memory": kind, "rows_per_task": rows}


def add_row(table: Table, rows: int, kind: str, result: dict[str, object]) -> None:
    """A line of the table."""
    kept = np.array(result["kept"])[:, 0]
    mean = interval(kept)
    table.add_row(
        f"{rows:,}",
        kind,
        f"{mean['mean']:.1%}",
        f"{mean['low']:.1%} to {mean['high']:.1%}",
        f"{(kept >= 0.95).sum()} of {len(kept)}",
        f"{np.array(result['learned'])[:, 1].mean():.1f}",
        " ".join(f"{value:.0f}" for value in np.array(result["final"])[:, 0]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[500, 2_000, 10_000])
    parser.add_argument("--memories", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--methods", default="distill")
    parser.add_argument("--logdir", default="runs/benchmarks")
    parser.add_argument("--table", action="store_true", help="train nothing")
    args = parser.parse_args()
    table = Table(title=f"CartPole after Acrobot, by what chose its rows (methods: {args.methods})")
    for column in ("rows", "memory", "kept", "95% interval", ">= 95% kept", "Acrobot", "CartPole"):
        table.add_column(column)
    for rows in args.rows:
        for kind in args.memories:
            name = f"memories_{args.methods}_{kind}_{rows}"
            file = RESULTS / f"{name}.json"
            if not args.table:
                changes = changes_for(kind, rows) | {"methods": args.methods}
                result = run(ENVS, name, args.seeds, args.logdir, **changes)
                file.write_text(json.dumps(result, indent=1))
            if file.exists():
                add_row(table, rows, kind, json.loads(file.read_text()))
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
