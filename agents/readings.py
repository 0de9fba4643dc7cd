"""The metrics of an update."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np


class Readings(Mapping[str, np.ndarray]):
    """Metrics by name, `[members]` each, in one array.

    They stay in one array: most are never read one by one, so splitting it at every update would be
    wasted.

    Attributes:
        array: All of them, `[numbers, members]`.
    """

    def __init__(self, names: Sequence[str], array: np.ndarray) -> None:
        assert len(names) == len(array)
        self._names, self.array = names, array

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        numbers: np.ndarray = self.array[self._names.index(name)]
        return numbers

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return repr(dict(self))
