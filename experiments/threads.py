"""How many threads PyTorch computes with: one for small networks, for large ones what is faster."""

import logging
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

LOG = logging.getLogger("retain")
CORES = torch.get_num_threads()  # what PyTorch would take, which OMP_NUM_THREADS can set
LARGE = 5_000_000  # parameters times rows of an update; below, threads wait for one another
CLEARLY = 0.85  # of the time on one thread
TRIALS = 5
PRODUCTS = 10  # at a time: one by itself is too short to be measured


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fastest_threads(
    agent: Any,
    columns: dict[str, Any],
    members: int,
    batch_size: int,
    precision: str = "float32",
) -> int:
    """How many threads an update is clearly faster on: 1, or as many as there are cores.

    Args:
        agent: Its state stays as it is, and no random number is drawn.
        columns: Name -> column of its memory.
        members: How many learn together.
        batch_size: Rows of each in an update.
        precision: What its products are in.
    """
    parameters = agent.num_parameters
    if CORES == 1 or parameters * batch_size < LARGE:
        return 1
    shape = (members, batch_size)
    if agent.compiled:
        products = _products(parameters // members, *shape, getattr(torch, precision))
        what, seconds = "products take", _timed(products)
    else:
        data = {name: np.zeros(shape + c.shape, c.dtype) for name, c in columns.items()}
        what, seconds = "an update takes", _timed(lambda: agent.rehearse(data))
    best = CORES if seconds[CORES] < CLEARLY * seconds[1] else 1
    times = ", ".join(f"{1e3 * took:.2f} ms on {n}" for n, took in seconds.items())
    LOG.info("threads %d: %s %s", best, what, times)
    return best


def _products(
    parameters: int, members: int, batch_size: int, dtype: torch.dtype
) -> Callable[[], None]:
    """What a compiled update mostly consists of; compiling one for each trial would take longer."""
    side = max(1, round(parameters**0.5))
    rows = torch.ones(members, batch_size, side, dtype=dtype)
    weights = torch.ones(members, side, side, dtype=dtype)

    def multiply() -> None:
        for _ in range(PRODUCTS):
            torch.bmm(rows, weights)

    return multiply


def _timed(call: Callable[[], object]) -> dict[int, float]:
    """Seconds of a call in the fastest of some trials, on one thread and on all."""
    before, seconds = torch.get_num_threads(), {1: np.inf, CORES: np.inf}
    for trial in range(2 * (TRIALS + 1)):  # the first on each warms up; they take turns
        threads = CORES if trial % 2 else 1
        torch.set_num_threads(threads)
        start = time.perf_counter()
        call()
        took = time.perf_counter() - start
        seconds[threads] = min(seconds[threads], took) if trial >= 2 else np.inf
    torch.set_num_threads(before)
    return seconds
