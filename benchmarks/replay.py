"""The memories beside the replay buffers of other libraries: speed, bytes, and whether it is right.

    python benchmarks/replay.py --memmap rows --out benchmarks/results/replay.json
    python benchmarks/replay.py --lines prioritized --capacity 1000000
    python benchmarks/replay.py --adds-of facility gss --out benchmarks/results/replay.json

One core, processor time: no library here works in more than one thread. All operations of a line
are timed in turn, many short rounds, and the best round counts. That does not undo what a busy
machine does to its caches, from which the libraries suffer unequally: publish what a quiet one
says. Figures are calls per second for samples and rows per second for adds; in brackets, how many
times the other library's rate ours is. A library that is not installed is left out and named. SB3
adds a batch in steps of 8 environments, Tianshou row by row.

A batch with "reused" arrays is drawn into the same memory every time, which PyTorch shares; with
"new" ones each of the five columns that all libraries have becomes a tensor of its own. TorchRL's
are tensors anyway, and so are SB3's. Then every library's samples are looked at: does each row's
state belong to its reward, and is every row drawn equally often? (The chi-square test's p is below
0.01 once in a hundred times where it is.)
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from replay_adds import make, own_adds, own_table
from replay_peers import FLOATS, PEERS, Operation, Subject, rows_of
from rich.console import Console
from rich.table import Table
from scipy.stats import chisquare

from buffers import BUFFERS
from buffers.selection import k_center

LINES = {
    "sample": "sample",
    "sample, tensors": "sample as torch tensors, reused",
    "sample, new tensors": "sample as torch tensors, new",
    "add one": "add, one row at a time",
    "add batch": "add, a batch at a time",
    "prioritized": "prioritised: sample and update",
}


def retain(capacity: int, batch: int) -> Subject:
    """Our FIFO, and the prioritised buffer."""
    buffer, other = make("fifo", capacity), make("fifo", capacity)
    buffer.add(rows_of(capacity))
    one, many, out = rows_of(1), rows_of(batch), buffer.batch(batch)
    tensors = {name: torch.from_numpy(values) for name, values in out.items()}

    def new_tensors() -> list[torch.Tensor]:
        data = buffer.sample(batch).data
        return [torch.from_numpy(data[name]) for name in one]

    def drawn() -> tuple[Any, Any]:
        buffer.sample(batch, out)
        return tensors["state"], tensors["reward"]

    return Subject(
        {
            "sample": lambda: buffer.sample(batch),
            "sample, tensors": lambda: buffer.sample(batch, out),
            "sample, new tensors": new_tensors,
            "add one": lambda: other.add(one),
            "add batch": lambda: other.add(many),
        }
        | prioritized(capacity, batch),
        drawn,
        buffer.nbytes,
    )


def prioritized(capacity: int, batch: int) -> dict[str, Operation]:
    """Sampling by priority and giving the errors back."""
    buffer, error = make("prioritized", capacity), np.ones(batch)
    buffer.add(rows_of(capacity))
    return {"prioritized": lambda: buffer.feedback(buffer.sample(batch).index, error)}


def rates(operations: dict[str, Operation], rounds: int, seconds: float) -> dict[str, float]:
    """Calls per second of each operation, in its best round."""
    best = dict.fromkeys(operations, 0.0)
    calls = {name: _calls_in(seconds, each) for name, each in operations.items()}
    for _ in range(rounds):
        for name, operation in operations.items():
            start = time.process_time()
            for _ in range(calls[name]):
                operation()
            best[name] = max(best[name], calls[name] / (time.process_time() - start))
    return best


def _calls_in(seconds: float, operation: Operation) -> int:
    operation()  # the first call may compile
    start, calls = time.process_time(), 0
    while time.process_time() - start < seconds:
        operation()
        calls += 1
    return max(calls, 1)


def check(subject: Subject, capacity: int, samples: int) -> dict[str, float]:
    """Share of rows whose state is not that of their reward; chance that draws are uniform."""
    counts, torn = np.zeros(100), 0
    for _ in range(samples):
        state, reward = (np.asarray(values) for values in subject.drawn())
        torn += int((state != reward[:, None]).any(axis=1).sum())
        counts += np.bincount((reward * 100 / capacity).astype(int), minlength=100)
    return {"torn": torn / counts.sum(), "uniform_p": float(chisquare(counts).pvalue)}


def k_center_seconds(rows: int = 10_000, features: int = 64, chosen: int = 1_000) -> float:
    """Time of choosing rows that are far apart."""
    values = np.random.default_rng(0).normal(size=(rows, features))
    return 1 / rates({"k_center": lambda: k_center(values, chosen)}, 3, 0)["k_center"]


def memmap(folder: Path) -> dict[str, Any]:
    """What replay_memmap.py says, in a process of its own."""
    script = Path(__file__).with_name("replay_memmap.py")
    command = [sys.executable, str(script), "--folder", str(folder)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(found.stdout))


def subjects(capacity: int, batch: int) -> tuple[dict[str, Subject], list[str]]:
    """Ours and those of the libraries that are installed; names of the others."""
    found, missing = {"Retain": retain(capacity, batch)}, []
    for name, peer in PEERS.items():
        try:
            found[name] = peer(capacity, batch)
        except ImportError:
            missing.append(name)
    return found, missing


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All figures, as JSON can hold them."""
    found, missing = subjects(args.capacity, args.batch)
    lines: dict[str, dict[str, float]] = {}
    for line in args.lines or LINES:
        able = {name: s.operations[line] for name, s in found.items() if line in s.operations}
        rows = {"add batch": args.batch}.get(line, 1)
        timed = rates(able, args.rounds, args.seconds) if "Retain" in able else {}
        lines[line] = {name: rate * rows for name, rate in timed.items()}
    return {
        "capacity": args.capacity,
        "batch": args.batch,
        "own_capacity": args.own_capacity,
        "missing": missing,
        "rates": lines,
        "own_adds": [] if args.lines else own_adds(args),
        "k_center_seconds": None if args.lines else k_center_seconds(),
        "memmap": memmap(args.memmap) if args.memmap else None,
        "bytes_per_row": {name: s.bytes / args.capacity for name, s in found.items()},
        "checks": {name: check(s, args.capacity, args.samples) for name, s in found.items()},
    }


def peers_table(result: dict[str, Any]) -> Table:
    """A line per operation, a column per library."""
    names = list(result["bytes_per_row"])
    title = f"Capacity {result['capacity']:,}, {FLOATS} floats per state, batch {result['batch']}"
    table = Table(title=title)
    for column in ("per second (ours / theirs)", *names):
        table.add_column(column, justify="right")
    for line, label in LINES.items():
        if rates := result["rates"].get(line):
            table.add_row(label, *(_cell(rates, name) for name in names))
    table.add_row("bytes per row", *(f"{result['bytes_per_row'][name]:.0f}" for name in names))
    checks = [result["checks"][name] for name in names]
    table.add_row("torn rows", *(f"{100 * each['torn']:.1f}%" for each in checks))
    table.add_row("p of uniform draws", *(f"{each['uniform_p']:.3f}" for each in checks))
    return table


def _cell(rates: dict[str, float], name: str) -> str:
    if name not in rates:
        return "-"
    ratio = "" if name == "Retain" else f" ({rates['Retain'] / rates[name]:.1f}x)"
    return f"{rates[name]:,.0f}{ratio}"


def renewed(file: Path, args: argparse.Namespace) -> dict[str, Any]:
    """What the file holds, with the adds to some memories measured anew."""
    result = dict(json.loads(file.read_text()))
    others = [each for each in result["own_adds"] if each[0] not in args.adds_of]
    return result | {"own_adds": others + own_adds(args)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--capacity", type=int, default=100_000)
    parser.add_argument("--own-capacity", type=int, default=5_000, help="of costly memories")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=0.01, help="of each operation and round")
    parser.add_argument("--samples", type=int, default=400, help="looked at of each library")
    parser.add_argument("--lines", nargs="+", choices=LINES, help="these of the first table only")
    parser.add_argument(
        "--adds-of",
        nargs="+",
        choices=BUFFERS,
        metavar="MEMORY",
        help="measure adds to these anew, and nothing else; --out has the rest",
    )
    parser.add_argument("--memmap", type=Path, metavar="FOLDER", help="ten million rows in files")
    parser.add_argument("--out", type=Path, help="a file for the figures, JSON")
    args = parser.parse_args()
    if args.adds_of and not (args.out and args.out.exists()):
        parser.error("--adds-of: name the file of a whole run by --out")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (two of the libraries draw from it)
    result = renewed(args.out, args) if args.adds_of else measure(args)
    console = Console(width=150)
    console.print(peers_table(result))
    if result["own_adds"]:
        console.print(own_table(result["own_adds"]))
    if result["k_center_seconds"] is not None:
        console.print(f"k-center, 1,000 of 10,000 x 64: {result['k_center_seconds']:.2f} s")
    if result["memmap"]:
        console.print("10 million rows in files:", result["memmap"])
    for name in result["missing"]:
        console.print(f"{name} is not installed: left out")
    if args.out:
        args.out.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
