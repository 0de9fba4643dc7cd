"""How many bytes a buffer takes, known before it takes them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from buffers.columns import Column, Columns, make_columns
from buffers.layout import Layout

BORN = 4  # bytes per row for its age


def bytes_needed(
    capacity: int,
    *,
    state: Columns,
    action: Column = Column((), np.int64),  # noqa: B008 (immutable)
    extra: Mapping[str, Columns] | None = None,
) -> int:
    """Bytes that the rows of a full buffer take; arguments as of `Buffer`.

    Columns of frames count as if no two frames were alike, which is the most that they can take.
    What a rule keeps beside the rows, such as priorities, does not count.
    """
    return capacity * row_bytes(Layout(make_columns(state, action, extra)))


def row_bytes(layout: Layout) -> int:
    """Bytes of a row and of its age."""
    return layout.row_bytes + BORN


def check_fits(layout: Layout, rows: int) -> None:
    """Raise MemoryError if `rows` rows are more than there is memory for."""
    needed, there = rows * row_bytes(layout), available_bytes()
    if there is not None and needed > there:
        raise MemoryError(
            f"{rows:,} rows of {row_bytes(layout):,} bytes need {needed:,} bytes, "
            f"{there:,} are available; hold fewer rows, or use storage='memmap'"
        )


def available_bytes() -> int | None:
    """Bytes of memory that can be had, by what Linux and a container say; None where unknown."""
    known = [value for value in (_free(), _limit()) if value is not None]
    return min(known, default=None)


def _free() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(k.split()[1]) for k in lines if k.startswith("MemAvailable:")), None)


def _limit() -> int | None:
    """What the control group may have in all; caches count there, but can be given up."""
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return None
    return int(limit) if limit.isdigit() else None
