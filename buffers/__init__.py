"""What to keep of a stream of transitions and what to draw from it. NumPy only.

from buffers import Column, HybridBuffer

buffer = HybridBuffer(10_000, state=Column((4,)), extra={"q": Column((2,))}, seed=0)
buffer.add({"state": s, "action": a, "reward": r, "next_state": s2, "done": d, "task": t})
data, index, weight = buffer.sample(64)  # data["state"]: float32 [64, 4]
buffer.end_task()  # what was learnt so far is an earlier task from here on
"""

from collections.abc import Callable

from buffers.columns import Column, Memory, Sample
from buffers.hybrid import HybridBuffer
from buffers.nstep import NStep
from buffers.replay import ReplayBuffer
from buffers.task_reservoir import TaskReservoir

# TaskReservoir never draws the current task: alone it cannot teach one, so it is no choice here.
BUFFERS: dict[str, Callable[..., Memory]] = {"fifo": ReplayBuffer, "hybrid": HybridBuffer}

__all__ = [
    "BUFFERS",
    "Column",
    "HybridBuffer",
    "Memory",
    "NStep",
    "ReplayBuffer",
    "Sample",
    "TaskReservoir",
]
