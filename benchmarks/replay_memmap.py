"""Ten million rows in files: rates, bytes, resident memory, and whether the rows are right.

    python benchmarks/replay_memmap.py --rows 10000000 --folder rows

In a process of its own, without PyTorch, so that resident memory is that of the rows. The kernel
counts pages of mapped files as resident while there is room for them, and takes them back when
there is none; memory that it cannot take back is "anonymous". benchmarks/replay.py --memmap adds
the result to its own.
"""

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from buffers import Column, ReplayBuffer, bytes_needed

FLOATS = 8


def make(rows: int, folder: Path) -> ReplayBuffer:
    return ReplayBuffer(rows, state=Column((FLOATS,)), storage="memmap", path=folder)


def rows_of(first: int, n: int) -> dict[str, np.ndarray]:
    number = np.arange(first, first + n)
    state = np.repeat(number[:, None] % 2**24, FLOATS, axis=1).astype(np.float32)
    return {
        "state": state,
        "action": number,
        "reward": state[:, 0],
        "next_state": state,
        "done": np.zeros(n, bool),
    }


def resident() -> dict[str, int]:
    """Bytes in memory: the most so far, now, and of these the ones that no file holds."""
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    names = {"peak": "VmHWM", "now": "VmRSS", "anonymous": "RssAnon"}
    return {name: 1024 * int(lines[key].split()[0]) for name, key in names.items()}


def torn(buffer: ReplayBuffer, samples: int, batch: int) -> int:
    """Sampled rows whose state is not that of their number."""
    count = 0
    for _ in range(samples):
        data = buffer.sample(batch).data
        count += int((data["state"] != (data["action"] % 2**24)[:, None]).any(axis=1).sum())
    return count


def measure(rows: int, folder: Path, batch: int) -> dict[str, Any]:
    start = time.perf_counter()
    buffer = make(rows, folder)
    made = time.perf_counter()
    for first in range(0, rows + rows // 10, batch):  # a tenth is overwritten
        buffer.add(rows_of(first, batch))
    added = time.perf_counter()
    for _ in range(2_000):
        buffer.sample(batch)
    sampled = time.perf_counter()
    wrong, memory, seen = torn(buffer, 200, batch), resident(), buffer.seen
    del buffer
    again = time.perf_counter()
    buffer = make(rows, folder)
    opened = time.perf_counter()
    return {
        "rows": rows,
        "bytes_on_disk": sum(file.stat().st_size for file in folder.iterdir()),
        "bytes_in_memory_instead": bytes_needed(rows, state=Column((FLOATS,))),
        "seconds_to_reserve": made - start,
        "rows_added_per_second": seen / (added - made),
        "samples_per_second": 2_000 / (sampled - added),
        "resident": memory,
        "torn_rows": wrong,
        "seconds_to_open_again": opened - again,
        "torn_rows_then": torn(buffer, 200, batch),
        "rows_lost": seen - buffer.seen,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, required=True, help="new; removed afterwards")
    parser.add_argument("--batch", type=int, default=256)
    args = parser.parse_args()
    if args.folder.exists():
        parser.error(f"{args.folder} is there already")
    try:
        print(json.dumps(measure(args.rows, args.folder, args.batch), indent=1))
    finally:
        shutil.rmtree(args.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
