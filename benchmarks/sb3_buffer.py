"""Our memories inside Stable-Baselines3, beside its own buffer: steps taken in and samples drawn.

    python benchmarks/sb3_buffer.py

One environment, 8 floats per state, 100,000 rows, batches of 256; processor time, best of eight
rounds in turn.
"""

import argparse

import numpy as np
from gymnasium import spaces
from replay import rates
from replay_peers import Operation
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.buffers import ReplayBuffer

from buffers.adapters.sb3 import MemoryReplayBuffer

STATE, ACTION, ROWS = spaces.Box(-1, 1, (8,)), spaces.Discrete(3), 100_000
OWN, MEMORIES = "SB3's own", ("fifo", "reservoir", "hybrid")


def operations(name: str, buffer: ReplayBuffer) -> dict[str, Operation]:
    """Adding one step and drawing a sample, by name."""
    obs = np.random.default_rng(0).uniform(-1, 1, (1, 8)).astype(np.float32)
    step = (obs, obs, np.zeros(1, int), np.ones(1, np.float32), np.zeros(1, bool), [{}])
    buffer.add(*step)
    return {f"{name} add": lambda: buffer.add(*step), f"{name} sample": lambda: buffer.sample(256)}


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    timed = operations(OWN, ReplayBuffer(ROWS, STATE, ACTION))
    for name in MEMORIES:
        timed |= operations(name, MemoryReplayBuffer(ROWS, STATE, ACTION, memory=name))
    found = rates(timed, rounds=8, seconds=0.1)
    table = Table(title="per second; in brackets, how many times SB3's rate")
    for column in ("memory", "add one step", "sample(256)"):
        table.add_column(column, justify="right")
    for name in (OWN, *MEMORIES):
        pairs = [(found[f"{name} {what}"], found[f"{OWN} {what}"]) for what in ("add", "sample")]
        table.add_row(name, *(f"{rate:,.0f} ({rate / peer:.2f}x)" for rate, peer in pairs))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
