"""Every distinct frame once: what stacks of frames share between rows, rows share in memory.

The state and the next state of a row have all frames but one in common, and so have rows that
follow one another. Peers rebuild stacks from neighbouring rows, which goes wrong at truncations
or where neighbours are gone. Here a frame is found by its bytes, whatever row it is in.
"""

import math
import sys
from collections.abc import Iterator, Sequence

import numpy as np

MULTIPLIER = np.uint64(6364136223846793005)  # of Knuth's MMIX generator
BLOCK_BYTES = 2**17  # looked up at once: what is made on the way stays in the processor's cache
GROWTH_BYTES = 2**20  # a pool grows by at least these and at least a sixteenth
ENTRY_BYTES = 72  # of the two whole numbers that an entry of the index refers to


class FramePool:
    """Frames of one size by number, none of them twice; frame 0 is all zeros and always there.

    Frames that nothing refers to any more are found when room is needed, not before: counting
    references would cost time with every row, and be wrong forever once wrong.

    Args:
        size: bytes of a frame.
    """

    def __init__(self, size: int) -> None:
        self.dtype = np.dtype(f"V{size}")
        self._factors = np.cumprod(np.full(-(-size // 8), MULTIPLIER))
        self._frames = np.zeros(1, self.dtype)
        self._keys = self._keys_of(self._frames)  # of each frame, also of those given up
        self._index = {self._keys[0]: 0}  # key -> number
        self._free: list[int] = []

    @property
    def nbytes(self) -> int:
        """Bytes of the frames, with room for more, and about those of the index."""
        index = (self._index, self._keys, self._free)
        return (
            self._frames.nbytes
            + sum(sys.getsizeof(part) for part in index)
            + ENTRY_BYTES * len(self._index)
        )

    def store(self, frames: np.ndarray, out: np.ndarray, used: Sequence[np.ndarray]) -> None:
        """Write the number of each frame to `out`, and store the frames that are new.

        Args:
            frames: [n] of `dtype`.
            out: uint32 [n].
            used: arrays of all numbers in use, `out` among them.
        """
        for block in self._blocks(len(frames)):
            self._store_block(frames[block], out[block], used)

    def _blocks(self, frames: int) -> Iterator[slice]:
        step = max(BLOCK_BYTES // self.dtype.itemsize, 1)
        return (slice(first, first + step) for first in range(0, frames, step))

    def _store_block(self, frames: np.ndarray, out: np.ndarray, used: Sequence[np.ndarray]) -> None:
        keys = self._keys_of(frames)
        out[:] = [self._index.get(key, 0) for key in keys]
        new = np.flatnonzero(self._differ(self._frames.take(out), frames)).tolist()
        if new:
            self.reserve(len({keys[i] for i in new}), used)
        for i in new:
            out[i] = self._number(keys[i], frames[i])

    def take_up(self, used: Sequence[np.ndarray]) -> None:
        """Find the frames of these numbers again, which are there; all others are free.

        Raises:
            ValueError: there are fewer frames.
        """
        in_use = np.unique(np.concatenate([np.zeros(1, np.uint32), *used]))
        if in_use[-1] >= len(self._frames):
            raise ValueError(f"frame {in_use[-1]} is missing: there are {len(self._frames)}")
        self._index, self._keys = {}, [0] * len(self._frames)
        for block in self._blocks(len(in_use)):
            numbers = in_use[block]
            for number, key in zip(
                numbers.tolist(), self._keys_of(self._frames[numbers]), strict=True
            ):
                while key in self._index:
                    key = (key + 1) % 2**64
                self._keys[number], self._index[key] = key, number
        self._give_up(used)

    def take(self, numbers: np.ndarray, out: np.ndarray) -> None:
        """Copy the frames of these numbers into `out`, [n] of `dtype`."""
        self._frames.take(numbers, out=out, mode="clip")

    def _keys_of(self, frames: np.ndarray) -> list[int]:
        """A number for each frame that other frames hardly share: a polynomial in its words.

        Modulo 2**64 a word's upper bits change only upper bits of the sum, where frames would often
        meet; so its upper half goes into its lower half first.
        """
        size = self.dtype.itemsize
        if size % 8:
            padded = np.zeros((len(frames), 8 * len(self._factors)), np.uint8)
            padded[:, :size] = frames.view(np.uint8).reshape(-1, size)
            frames = padded
        words = frames.view(np.uint64).reshape(len(frames), -1)
        mixed = words >> np.uint64(32)
        mixed ^= words
        keys: list[int] = np.einsum("ij,j->i", mixed, self._factors).tolist()
        return keys

    def _differ(self, some: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Whether one frame differs from the other, bool [n]; word by word, as records are slow."""
        word = f"u{math.gcd(self.dtype.itemsize, 8)}"
        words = np.not_equal(some.view(word), others.view(word))
        return words.reshape(len(some), -1).any(axis=1)

    def _number(self, key: int, frame: np.void) -> int:
        """The number of one frame: where another one has its key, under the next free key."""
        while (number := self._index.get(key)) is not None:
            if self._frames[number].tobytes() == frame.tobytes():
                return number
            key = (key + 1) % 2**64
        if not self._free:
            self._grow(1)
        number = self._free.pop()
        self._frames[number] = frame
        self._keys[number], self._index[key] = key, number
        return number

    def distinct(self, *columns: np.ndarray) -> int:
        """How many of the frames, each [n] of `dtype`, differ from one another."""
        keys: set[int] = set()
        for frames in columns:
            for block in self._blocks(len(frames)):
                keys.update(self._keys_of(frames[block]))
        return len(keys)

    def reserve(self, frames: int, used: Sequence[np.ndarray]) -> None:
        """Have room for so many frames: by giving up those in no use, and by growing."""
        if frames <= len(self._free):
            return
        self._give_up(used)
        spare = max(frames, len(self._frames) // 16, GROWTH_BYTES // self.dtype.itemsize)
        self._grow(spare - len(self._free))

    def _give_up(self, used: Sequence[np.ndarray]) -> None:
        free = np.ones(len(self._frames), bool)
        free[0] = False
        for numbers in used:
            free[numbers] = False
        self._free = np.flatnonzero(free)[::-1].tolist()
        for number in self._free:
            if self._index.get(self._keys[number]) == number:
                del self._index[self._keys[number]]

    def _grow(self, more: int) -> None:
        if more <= 0:
            return
        before = len(self._frames)
        if not self._frames.flags.owndata:  # it comes from a pickle
            self._frames = self._frames.copy()
        # In place, where the system can: a copy would need the memory twice.
        self._frames.resize(before + more, refcheck=False)
        self._keys += [0] * more
        self._free = [*range(before + more - 1, before - 1, -1), *self._free]
