"""One sample of several buffers, as that of each alone, with fewer calls for each of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from buffers.buffer import Buffer
from buffers.columns import Sample
from buffers.layout import Batch, Layout
from buffers.nested import nested

# What `Together` does without, where they are those of `Buffer`.
HOOKS = ("sample", "_sample", "_sample_to", "_draw", "_weigh", "_corrects", "drawable")


class Together:
    """Draws `n` rows from each of some buffers into arrays `[buffers, n, ...]`, again and again.

    Each buffer draws what it would draw alone. For few rows the calls take longer than the work in
    them: so what buffers have in common that all draw uniformly is done once for all of them.

    Args:
        buffers: with the same columns.
        n: rows of each.

    Attributes:
        sample: the arrays; a row's columns lie side by side, as in a buffer.
    """

    def __init__(self, buffers: Sequence[Any], n: int) -> None:
        layout, shape = Layout(buffers[0].columns), (len(buffers), n)
        records = [np.empty(shape, raw.dtype) for raw in layout.batch(1).records]
        index, weight = np.empty(shape, np.int64), np.empty(shape, np.float32)
        data = layout.views(records)
        self.sample = Sample(nested(data) if layout.nested else data, index, weight)
        self._buffers, self._n = tuple(buffers), n
        self._drawn, self._factor = np.empty(shape), np.ones(())
        self._held: list[int] = []  # rows of each buffer, as in `_factor`
        # Each buffer and its parts of all arrays, which to cut out takes longer than to fill.
        self._each = [
            (buffer, Batch(layout, [raw[k] for raw in records], (index[k], weight[k])), drawn, own)
            for k, (buffer, drawn, own) in enumerate(zip(buffers, self._drawn, index, strict=True))
        ]
        self._alike = all(_is_plain(buffer, part, n) for buffer, part, *_ in self._each)

    def __reduce__(self) -> tuple[Any, ...]:  # views would come back as copies
        return Together, (self._buffers, self._n)

    def draw(self) -> Sample:
        """Return `sample` with new rows. Raises ValueError as `Buffer.sample` does."""
        if self._alike and all(rows := [*map(len, self._buffers)]):
            self._draw_alike(rows)
        else:
            for buffer, part, *_ in self._each:
                part.keep(buffer.sample(self._n, out=part))
        return self.sample

    def _draw_alike(self, rows: list[int]) -> None:
        """What `Buffer.sample` does, with the same random numbers in the same order."""
        for buffer, _, drawn, _ in self._each:
            buffer._rng.random(out=drawn)
        if rows != self._held:
            self._held, self._factor = rows, _factor(rows)
        self._drawn *= self._factor
        self.sample.index[...] = self._drawn
        for buffer, part, _, slots in self._each:
            buffer._storage.fill(part, slots)
        self.sample.weight.fill(1)


def _factor(rows: list[int]) -> np.ndarray:
    """The numbers of rows, to multiply with: as one if all are, which takes a third of the time."""
    whole = np.array(rows, np.float64)
    return whole[:, None] if rows.count(rows[0]) < len(rows) else whole[0, ...]


def _is_plain(buffer: Any, part: Batch, n: int) -> bool:
    """Whether a buffer draws uniformly, all that it holds, and weighs all alike."""
    plain = isinstance(buffer, Buffer) and buffer._as_in(Buffer, *HOOKS)
    return plain and part.fits(buffer._storage.layout, n)
