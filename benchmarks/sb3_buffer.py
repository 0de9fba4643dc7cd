"""Our memories inside Stable-Baselines3, beside its own buffer: steps taken in and samples drawn.

    python benchmarks/sb3_buffer.py

One environment, 8 floats per state, 100,000 rows, batches of 256, one core; best of four rounds.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.buffers import ReplayBuffer

from buffers.adapters.sb3 import MemoryReplayBuffer

STATE, ACTION, ROWS = spaces.Box(-1, 1, (8,)), spaces.Discrete(3), 100_000


def best(function: Callable[[], Any], calls: int) -> float:
    """Calls per second, in the best of four rounds."""
    rates = []
    for _ in range(4):
        start = time.perf_counter()
        for _ in range(calls):
            function()
        rates.append(calls / (time.perf_counter() - start))
    return max(rates)


def rates_of(buffer: ReplayBuffer) -> tuple[float, float]:
    """Steps added and samples drawn per second."""
    obs = np.random.default_rng(0).uniform(-1, 1, (1, 8)).astype(np.float32)
    step = (obs, obs, np.zeros(1, int), np.ones(1, np.float32), np.zeros(1, bool), [{}])
    return best(lambda: buffer.add(*step), 5_000), best(lambda: buffer.sample(256), 1_000)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    table = Table(title="per second; in brackets, how many times SB3's rate")
    for column in ("memory", "add one step", "sample(256)"):
        table.add_column(column, justify="right")
    own = rates_of(ReplayBuffer(ROWS, STATE, ACTION))
    table.add_row("SB3's own", *(f"{rate:,.0f}" for rate in own))
    for name in ("fifo", "reservoir", "hybrid"):
        rates = rates_of(MemoryReplayBuffer(ROWS, STATE, ACTION, memory=name))
        pairs = zip(rates, own, strict=True)
        table.add_row(name, *(f"{rate:,.0f} ({rate / peer:.2f}x)" for rate, peer in pairs))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
