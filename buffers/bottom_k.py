"""Which episodes an `EpisodeReservoir` keeps: those of the smallest keys, however long they are."""

import heapq
from collections.abc import Iterable, Mapping


class BottomK:
    """The rule of `EpisodeReservoir`, which knows of each kept episode its key and its length.

    Args:
        kept: rows of each kept episode by its key.
        lengths: of all episodes so far that would fit.
        below: keys from here on were given up.

    Attributes:
        lengths, below: as given, and what came since.
    """

    def __init__(
        self, kept: Mapping[float, int], lengths: Iterable[int] = (), below: float = 1.0
    ) -> None:
        self.lengths, self.below = set(lengths), below
        self._highest = [(-key, rows) for key, rows in kept.items()]  # a heap
        heapq.heapify(self._highest)
        self._held = sum(kept.values())
        self._longest = max(self.lengths, default=0)

    def offer(self, key: float, rows: int, capacity: int) -> list[float]:
        """Take in an episode of `rows` rows, unless its key is not below `below`.

        Returns:
            Keys of the episodes that are given up now, perhaps its own among them.
        """
        self.lengths.add(rows)
        self._longest = max(self._longest, rows)
        if key < self.below:
            heapq.heappush(self._highest, (-key, rows))
            self._held += rows
        return self.make_room(capacity)

    def make_room(self, capacity: int) -> list[float]:
        """Give up episodes, those of the highest keys, until the rule holds; return their keys."""
        gone = []
        while self._highest:
            all_fit = self.below == 1 and self._held <= capacity
            if all_fit or self._held - self._highest[0][1] <= capacity - self._longest:
                break
            key, rows = heapq.heappop(self._highest)
            self.below, self._held = -key, self._held - rows
            gone.append(-key)
        return gone
