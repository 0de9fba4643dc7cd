"""The newest rows and a few of every earlier task, drawn together.

Rehearsal of stored rows at a fixed share follows CLEAR (Rolnick et al., 2019), which found half
and half to be a good share.
"""

from pathlib import Path
from typing import Unpack

import numpy as np

from buffers.buffer import Common
from buffers.mixture import MixtureBuffer
from buffers.replay import ReplayBuffer
from buffers.reservoir import ReservoirBuffer
from buffers.task_blocks import MakePart
from buffers.task_buffer import TaskBuffer


class HybridBuffer(MixtureBuffer):
    """A ring of recent rows (`recent`) and a memory of each task (`memory`) behind one interface.

    Every row is offered to both. Once there are rows of earlier tasks, a `share` of the rows drawn
    comes from them.

    Args:
        capacity: recent rows it can hold, not counting the memory.
        clear_at_switch: whether `end_task` drops the recent rows.
        rows_per_task: rows the memory keeps of each task.
        share: of the rows drawn, from 0 to 1: so many are of earlier tasks.
        kind: what chooses the rows of a task; by default a reservoir.
        draw_current: whether the memory's rows of the current task are drawn as well, so that one
            that goes on for long is not only learnt from its newest rows.
        recent_kind: what holds the recent rows: `recent_kind(capacity, clear_at_switch=...,
            **common)`; by default a ring that is drawn uniformly.
        common: `state, action, extra, seed, storage, path`; see `Buffer`.
    """

    def __init__(
        self,
        capacity: int,
        *,
        clear_at_switch: bool = True,
        rows_per_task: int = 500,
        share: float = 0.5,
        kind: MakePart = ReservoirBuffer,
        draw_current: bool = False,
        recent_kind: MakePart = ReplayBuffer,
        **common: Unpack[Common],
    ) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"share {share} is no share of a sample; choose 0 to 1")
        rng = np.random.default_rng(common.pop("seed", 0))
        seeds = rng.integers(2**62, size=2).tolist()
        self.share = share
        path = common.pop("path", None)
        paths = [Path(path) / name if path else None for name in ("recent", "memory")]
        common["seed"], common["path"] = seeds[0], paths[0]
        self.recent = recent_kind(capacity, clear_at_switch=clear_at_switch, **common)
        common["seed"], common["path"] = seeds[1], paths[1]
        self.memory = TaskBuffer(rows_per_task, kind=kind, draw_current=draw_current, **common)
        super().__init__(
            {"recent": self.recent, "memory": self.memory},
            {"recent": 1 - share, "memory": share},
        )

    def idle(self) -> str | None:
        """Say so if the memory had no choice to make yet; recent rows may all fit."""
        return self.memory.idle()
