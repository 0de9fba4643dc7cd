"""How much memory a run needs: computed before it starts, measured while it goes on."""

import inspect
import resource
import sys
from collections.abc import Mapping
from typing import Any

from buffers import BUFFERS
from buffers.memory import available_bytes, bytes_needed
from experiments.config import Config


def rows_of(config: Config, tasks: int) -> int:
    """Rows that a member's memory holds at most, once it has seen all tasks."""
    known = inspect.signature(BUFFERS[config.buffer]).parameters
    recent = config.capacity if "capacity" in known else 0
    return recent + (config.rows_per_task * tasks if "rows_per_task" in known else 0)


def check_memory(config: Config, tasks: int, columns: Mapping[str, Any], agent_bytes: int) -> str:
    """How many bytes the members will take, in words, before they take them.

    Args:
        config: Of the run.
        tasks: How many it has.
        columns: The memory's `state` and `extra`, as of `Buffer`.
        agent_bytes: Of the learner's state, all members together.

    Raises:
        ValueError: Less than that is available.
    """
    batches = config.gradient_steps * config.batch_size  # are drawn at once
    unfinished = config.num_envs * config.n_step if config.n_step > 1 else 0
    per_member = bytes_needed(rows_of(config, tasks) + batches + unfinished, **columns)
    needed, there = config.seeds * per_member + agent_bytes, available_bytes()
    who = "1 member needs" if config.seeds == 1 else f"{config.seeds:,} members need"
    what = (
        f"{who} {_megabytes(needed)}: {_megabytes(per_member)} each for "
        f"memories, {_megabytes(agent_bytes)} in all for networks"
    )
    if there is not None and needed > there:
        raise ValueError(
            f"{what}; {_megabytes(there)} are available: use fewer --seeds, or a smaller --capacity"
            + (" or --n-step" if unfinished > rows_of(config, tasks) else "")
        )
    return what


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
