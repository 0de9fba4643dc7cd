"""Arrays of slots, where each row of a batch goes; -1 is no slot."""

from functools import lru_cache

import numpy as np

FEW = 1 << 12  # slots of which arrays are kept to be copied
NONE = np.array(-1)  # NumPy compares with an array in half the time
_SLOT = np.zeros(1, np.int64)


def one_slot(slot: int) -> np.ndarray:
    """A slot as an array [1], in half the time of `np.array([slot])`."""
    slots = _SLOT.copy()
    slots[0] = slot
    return slots


def nowhere(rows: int) -> np.ndarray:
    """No slot, -1, for each of `rows` rows; for few in a third of the time of `np.full`."""
    return _nowhere(rows).copy() if rows <= FEW else np.full(rows, -1)


@lru_cache
def _nowhere(rows: int) -> np.ndarray:
    return np.full(rows, -1)


def somewhere(slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which rows have a slot, int64 [k], and which slots these are."""
    kept = (slots > NONE).nonzero()[0]
    return kept, slots.take(kept)


def last_writes(slots: np.ndarray) -> np.ndarray:
    """Return `slots` with -1 where a later row goes to the same slot.

    NumPy promises no order for repeated indices in one assignment: two columns of one slot could
    otherwise come from different rows.
    """
    n = len(slots)
    if n == 1:
        return slots
    if n < 64 and len(set(slots.tolist())) == n:  # sooner than sorting so few
        return slots
    ordered = np.sort(slots)
    if not np.count_nonzero(ordered[1:] == ordered[:-1]):  # a third of the time of what follows
        return slots
    bits = n.bit_length()
    ordered = np.sort(slots << bits | np.arange(n))  # by slot, then by turn
    earlier = ordered[:-1][ordered[:-1] >> bits == ordered[1:] >> bits]
    kept = slots.copy()
    kept[earlier & (1 << bits) - 1] = -1
    return kept
