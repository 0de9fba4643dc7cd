"""What a buffer holds and what a sample of it is worth, in numbers to look at."""

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from operator import mul
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from buffers import Memory

CELLS_LOOKED_AT = 5_000  # rows; more cost time and tell the same
NUMBERS_LOOKED_AT = 10_000_000  # in all rows: of images fewer are looked at


def age_histogram(ages: np.ndarray) -> dict[str, list[int]]:
    """Count rows by age, in classes that double in width.

    Args:
        ages: rows offered since each stored row, [rows].

    Returns:
        `edges`: 0, 1, 2, 4, ... up to beyond the oldest; `rows`: how many are from one edge up to,
        but not including, the next.
    """
    classes = np.ceil(np.log2(ages + 1)).astype(int)  # 0 -> 0, 1 -> 1, 2 and 3 -> 2, ...
    rows = np.bincount(classes).tolist() if len(ages) else []
    return {"edges": [0, *(2**power for power in range(len(rows)))], "rows": rows}


def duplicates(index: np.ndarray) -> float:
    """Share of a sample's rows that repeat another of its rows, from 0 to below 1."""
    return 1 - len(np.unique(index)) / len(index)


def effective_size(index: np.ndarray, weight: np.ndarray) -> float:
    """Rows that count as much as this sample does: (sum w)^2 / sum w^2 (Kish, 1965).

    Args:
        index: which row each draw is, [n]; the weights of repeated draws add up.
        weight: importance weight of each draw, [n].
    """
    _, row = np.unique(index, return_inverse=True)
    total = np.bincount(row, weights=weight)
    return float(total.sum() ** 2 / np.square(total).sum())


def coverage(states: np.ndarray, reference: np.ndarray | None = None) -> float:
    """Share of rows that are somewhere else than all others, from above 0 to 1.

    Space is cut into cells half a standard deviation wide; the figure is the number of cells with a
    row, over the number of rows. Near 1 no row is redundant; a memory full of near-copies has
    little. Of many rows 5,000 are looked at, evenly spread; of images as many as have 10 million
    numbers.

    Args:
        states: [rows, *shape], at least one row.
        reference: [n, *shape], whose deviation counts; by default that of the rows themselves.
            Figures of two memories can only be compared if both have one reference, such as states
            of all that was offered, and about as many rows. What does not vary there is left out.

    Raises:
        ValueError: the reference is empty or of another shape.
    """
    scale = states if reference is None else reference
    if not len(scale) or scale.shape[1:] != states.shape[1:]:
        expected, given = list(states.shape[1:]), list(scale.shape)
        raise ValueError(f"reference: expected rows {expected}, given {given}")
    flat = _some(states)
    width = (flat if reference is None else _some(scale)).std(axis=0) / 2
    varies = width > 0
    cells = np.floor(flat[:, varies] / width[varies]).astype(np.int64)
    return _distinct(cells) / len(flat) if varies.any() else 1 / len(flat)


def coverage_by_task(memory: "Memory", tasks: Iterable[int]) -> dict[int, float]:
    """Return the `coverage` of the rows of each of these tasks, which the memory holds.

    Where states are dicts there is none.
    """
    found: dict[int, float] = {}
    for task in tasks if "state" in memory.columns else ():
        rows = memory.rows(task)
        looked_at = rows[_spread(len(rows), math.prod(memory.columns["state"].shape))]
        found[task] = coverage(memory.read(looked_at)["state"])
    return found


def _distinct(cells: np.ndarray) -> int:
    """How many rows of whole numbers, [rows, numbers], differ from all before them."""
    lowest = cells.min(axis=0)
    sizes = [b - a + 1 for a, b in zip(lowest.tolist(), cells.max(axis=0).tolist(), strict=True)]
    if math.prod(sizes) < 2**63:  # one number says which it is: a tenth of the time
        steps = np.array([*accumulate(sizes[:-1], mul, initial=1)])
        return len(np.unique((cells - lowest) @ steps))
    return len(np.unique(cells, axis=0))


def _some(states: np.ndarray) -> np.ndarray:
    """At most so many rows as are looked at, evenly spread, float64 [rows, numbers]."""
    spread = _spread(len(states), math.prod(states.shape[1:]))
    return states[spread].reshape(len(spread), -1).astype(np.float64)


def _spread(rows: int, numbers: int) -> np.ndarray:
    """Which of so many rows are looked at, each of so many numbers."""
    most = min(CELLS_LOOKED_AT, max(100, NUMBERS_LOOKED_AT // max(numbers, 1)))
    return np.linspace(0, rows - 1, min(rows, most)).astype(int)


def worth(index: np.ndarray, weight: np.ndarray) -> dict[str, float]:
    """What a sample is worth, by name: its `duplicates`, and its `effective_size` as a share."""
    share = effective_size(index, weight) / len(index)
    return {"duplicates": duplicates(index), "effective_share": share}


def figures(
    held: Mapping[str, Any], covered: Mapping[int, float], name: Callable[[int], str] = str
) -> dict[str, float]:
    """What a memory holds, by name.

    Args:
        held: as `describe()` of the memory.
        covered: coverage of the rows of each task.
        name: of a task.
    """
    shares = {f"share/{name(int(task))}": share for task, share in held["share"].items()}
    coverages = {f"coverage/{name(task)}": share for task, share in covered.items()}
    ages = {f"age_{which}": age for which, age in held["age"].items()}
    return {"rows": held["rows"], **shares, **coverages, **ages}


def contents(task: np.ndarray, ages: np.ndarray) -> dict[str, Any]:
    """Summarise rows as JSON can hold it: share per task, and age in rows (0 if there are none)."""
    values, counts = np.unique(task, return_counts=True)
    age = ages if len(ages) else np.zeros(1)
    return {
        "share": {str(t): float(c) / len(task) for t, c in zip(values, counts, strict=True)},
        "age": {"min": int(age.min()), "median": float(np.median(age)), "max": int(age.max())},
        "ages": age_histogram(ages),
    }
