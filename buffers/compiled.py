"""The inner loops of the sum tree, compiled where numba is there: `pip install retain-rl[fast]`.

They do what `put` and `find` of `buffers.sum_tree` do, bit for bit: all numbers are whole.
"""

from collections.abc import Callable
from functools import cache

import numpy as np

Put = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], int]
Find = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@cache
def loops() -> tuple[Put, Find] | None:
    """`put` and `find` compiled, which takes half a second; None without numba."""
    try:
        import numba
    except ImportError:
        return None
    return numba.njit(put), numba.njit(find)


def put(blocks: np.ndarray, sums: np.ndarray, slots: np.ndarray, values: np.ndarray) -> int:
    """See `buffers.sum_tree.put`."""
    width, total = blocks.shape[1], 0
    for i in range(len(slots)):
        block, slot = slots[i] // width, slots[i] % width
        change = values[i] - blocks[block, slot]
        blocks[block, slot] = values[i]
        sums[block] += change
        total += change
    return total


def find(blocks: np.ndarray, sums: np.ndarray, places: np.ndarray) -> np.ndarray:
    """See `buffers.sum_tree.find`."""
    found = np.empty(len(places), np.int64)
    block, before = 0, 0
    for i in range(len(places)):
        for block in range(block, len(sums)):  # noqa: B020 (goes on where the last place was)
            if before + sums[block] > places[i]:
                break
            before += sums[block]
        end = before
        for slot in range(blocks.shape[1]):
            end += blocks[block, slot]
            if end > places[i]:
                break
        found[i] = block * blocks.shape[1] + slot
    return found
