"""What adding rows to a full memory costs, for benchmarks/replay.py."""

import argparse
import time
from collections.abc import Mapping
from itertools import cycle
from typing import Any

from replay_peers import EPISODE, FLOATS, rows_of
from rich.table import Table

from buffers import BUFFERS, Column, Memory
from buffers.columns import needs_of

STREAMS = (2, 10, 100)  # times the capacity that have passed by: a reservoir keeps less and less
WHOLE = 5_000  # single rows at a time: of a coreset of so many, whole turns from choice to choice
CHEAP = ("fifo", "reservoir", "skip_reservoir")  # the others are timed with fewer rows


def make(kind: str, capacity: int) -> Any:
    """A memory of a kind, with the columns that it needs beside the usual ones."""
    return BUFFERS[kind](capacity, state=Column((FLOATS,)), extra=needs_of(BUFFERS[kind]))


def once(registry: Mapping[str, object]) -> list[str]:
    """Names of a registry, of two names for one thing the later one."""
    return list({thing: name for name, thing in registry.items()}.values())


def passed_by(capacity: int, stream: int, kinds: list[str]) -> dict[str, Memory]:
    """Memories of each kind that `stream` times their capacity has passed by."""
    memories = {kind: make(kind, capacity) for kind in kinds}
    for memory in memories.values():
        for first in range(0, stream * capacity, 5_000):
            memory.add(rows_of(5_000, first))
        assert len(memory), "it holds nothing, so that adding to it says nothing"
    return memories


def own_rates(memories: dict[str, Memory], batch: int, rounds: int) -> dict[str, float]:
    """Rows per second that each memory takes, in its best round; the stream grows by little."""
    whole = [rows_of(batch, first) for first in range(0, EPISODE, batch)]
    best = dict.fromkeys(memories, 0.0)
    states = {kind: memory.state_dict() for kind, memory in memories.items()}
    for _ in range(rounds):
        for kind, memory in memories.items():
            memory.load_state_dict(states[kind])
            calls = min(max(memory.seen // (10 * batch), 1), WHOLE)
            start = time.process_time()
            for _, rows in zip(range(calls), cycle(whole), strict=False):
                memory.add(rows)
            best[kind] = max(best[kind], calls * batch / (time.process_time() - start))
    return best


def own_adds(args: argparse.Namespace) -> list[list[Any]]:
    """Kind, capacity, stream, batch, and rows per second of adds to full memories."""
    sizes, adds = (1, 8, args.batch, 8 * args.batch), []
    kinds = args.adds_of or once(BUFFERS)
    cheap = [kind for kind in kinds if kind in CHEAP]
    others = [kind for kind in kinds if kind not in CHEAP]
    for capacity, stream, some, batches, rounds in (
        *((args.capacity, stream, cheap, sizes, args.rounds) for stream in STREAMS),
        (args.own_capacity, 10, others, sizes[:3], 3),
    ):
        memories = passed_by(capacity, stream, some)
        for batch in batches:
            for kind, rate in own_rates(memories, batch, rounds).items():
                adds.append([kind, capacity, stream, batch, rate])
    return adds


def own_table(own_adds: list[list[Any]]) -> Table:
    """A line per kind of memory, stream and batch; both ratios are of times per row."""
    table = Table(title="Adding to a full memory")
    for column in ("memory", "rows", "stream, times that", "batch", "rows/s"):
        table.add_column(column, justify="right")
    for column in ("time / FIFO's, same batch", "time / FIFO's, one row"):
        table.add_column(column, justify="right")
    fifo = {(stream, batch): rate for kind, _, stream, batch, rate in own_adds if kind == "fifo"}
    for kind, capacity, stream, batch, rate in own_adds:
        ratios = (f"{fifo[stream, size] / rate:.2f}x" for size in (batch, 1))
        table.add_row(kind, f"{capacity:,}", str(stream), f"{batch:,}", f"{rate:,.0f}", *ratios)
    return table
