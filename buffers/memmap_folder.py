"""The folder of a buffer in files: who uses it, and what buffer it is of."""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from buffers.columns import Column

ABOUT, LOCK = "about.json", "lock"


def locked(folder: Path) -> int:
    """Return the descriptor of a file that no one else has locked.

    Raises:
        ValueError: somebody has.
    """
    guard = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(guard)
        raise ValueError(f"{folder} is in use by another buffer") from None
    return guard


def check_about(folder: Path, about: Mapping[str, Any]) -> None:
    """Raise ValueError unless the folder is of the buffer that `about` describes."""
    there = _read(folder / ABOUT)
    for given, mine in ((there, about), (there.get("columns", {}), about["columns"])):
        for name in sorted(given.keys() | mine.keys() - {"columns"}):
            if name != "columns" and given.get(name) != mine.get(name):
                raise ValueError(
                    f"{folder}: expected {name} {mine.get(name)}, found {given.get(name)}"
                )


def _read(file: Path) -> dict[str, Any]:
    try:
        there = json.loads(file.read_bytes())
    except ValueError:
        there = None
    if not isinstance(there, dict) or not isinstance(there.get("columns", {}), dict):
        raise ValueError(f"{file}: expected what a buffer has written there, found no such JSON")
    return there


def plain(columns: Mapping[str, Column]) -> dict[str, Any]:
    """Return columns as JSON has them."""
    return {
        k: [list(c.shape), np.dtype(c.dtype).str, c.fill, *([c.frames] if c.frames else [])]
        for k, c in columns.items()
    }
