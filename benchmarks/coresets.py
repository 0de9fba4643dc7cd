"""What a coreset costs: a row added to each memory, and each rule's choice among many rows.

    python benchmarks/coresets.py --rows 1000 --batches 1 8 256

One core, states of 8 floats, whole-number actions; memories are full before the clock starts. Every
figure is the least of three. FIFO is the cost of taking a row in and no more. "every 16" looks at
each 16th row only, "staging 0.75" gives up three quarters of its rows at each choice.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from buffers import BUFFERS, Column
from buffers.selection import SELECTIONS

KINDS: dict[str, tuple[str, dict[str, float]]] = {
    **{kind: (kind, {}) for kind in ("fifo", "reservoir", *SELECTIONS)},
    "k_center, staging 0.75": ("k_center", {"staging": 0.75}),
    "k_center, every 16": ("k_center", {"every": 16}),
}


def least(function: Callable[[], object]) -> float:
    """Seconds of processor time that a call takes: others may use the machine as well."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)


def per_row(name: str, capacity: int, batch: int) -> float:
    """Microseconds for each row added, in batches, to a full memory."""
    kind, options = KINDS[name]
    rng, buffer = np.random.default_rng(0), BUFFERS[kind](capacity, state=Column((8,)), **options)
    batches = []
    for _ in range(max(2_000, 8 * capacity) // batch):
        state = rng.normal(size=(batch, 8)).astype(np.float32)
        flat = {"action": rng.integers(4, size=batch), "reward": np.zeros(batch, np.float32)}
        rows = {"state": state, "next_state": state, "done": np.zeros(batch, bool)}
        batches.append(rows | flat)

    passes = 1 if kind in SELECTIONS and "every" not in options else 16  # enough to be timed

    def add() -> None:
        for rows in passes * batches:
            buffer.add(rows)

    add()
    return least(add) / (passes * len(batches) * batch) * 1e6


def choice(rule: str, rows: int, dimensions: int, k: int) -> float:
    """Milliseconds to choose `k` rows."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(rows, dimensions)).astype(np.float32)
    given = {"coverage": {"rng": rng}, "gss": {"rng": rng, "error": rng.normal(size=rows)}}
    return least(lambda: SELECTIONS[rule](features, k, **given.get(rule, {}))) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000, help="capacity of each memory")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 256])
    args = parser.parse_args()
    table = Table(title=f"microseconds per row added, {args.rows:,} rows (times FIFO)")
    for column in ("memory", *(f"batches of {batch}" for batch in args.batches)):
        table.add_column(column)
    cost = {(kind, n): per_row(kind, args.rows, n) for kind in KINDS for n in args.batches}
    for kind in KINDS:
        cells = [(cost[kind, n], cost[kind, n] / cost["fifo", n]) for n in args.batches]
        table.add_row(kind, *(f"{micros:.2f} ({times:.1f})" for micros, times in cells))
    Console(width=120).print(table)
    table = Table("rule", "10,000 x 64, choose 1,000: ms", title="one choice")
    for rule in SELECTIONS:
        table.add_row(rule, f"{choice(rule, 10_000, 64, 1_000):,.0f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
