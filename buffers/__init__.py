"""What to keep of a stream of transitions and what to draw from it. NumPy only.

from buffers import Column, HybridBuffer

buffer = HybridBuffer(10_000, state=Column((4,)), extra={"q": Column((2,))}, seed=0)
buffer.add({"state": s, "action": a, "reward": r, "next_state": s2, "done": d, "task": t})
data, index, weight = buffer.sample(64)  # data["state"]: float32 [64, 4]
buffer.end_task()  # what was learnt so far is an earlier task from here on
"""

from collections.abc import Callable

from buffers.buffer import Buffer
from buffers.columns import Column, Memory, Sample
from buffers.coreset import (
    CoresetBuffer,
    CoverageBuffer,
    FacilityBuffer,
    GradientBuffer,
    HerdingBuffer,
)
from buffers.episodes import EpisodeReservoir
from buffers.hybrid import HybridBuffer
from buffers.memory import bytes_needed
from buffers.mixture import MixtureBuffer
from buffers.multi_timescale import MultiTimescaleBuffer
from buffers.nstep import NStep
from buffers.prioritized import Prioritized, PrioritizedBuffer, PrioritizedReservoir
from buffers.rank import RankBuffer, Ranked
from buffers.replay import ReplayBuffer
from buffers.reservoir import ReservoirBuffer
from buffers.skip_reservoir import SkipReservoir
from buffers.task_buffer import TaskBuffer
from buffers.task_reservoir import BalancedReservoir, TaskReservoir
from buffers.top import RewardBuffer, SurpriseBuffer

# TaskReservoir never draws the current task: alone it cannot teach one, so it is no choice here.
BUFFERS: dict[str, Callable[..., Memory]] = {
    "fifo": ReplayBuffer,
    "hybrid": HybridBuffer,
    "reservoir": ReservoirBuffer,
    "balanced": BalancedReservoir,
    "coreset": CoresetBuffer,
    "k_center": CoresetBuffer,
    "herding": HerdingBuffer,
    "coverage": CoverageBuffer,
    "gss": GradientBuffer,
    "facility": FacilityBuffer,
    "skip_reservoir": SkipReservoir,
    "multi_timescale": MultiTimescaleBuffer,
    "episodes": EpisodeReservoir,
    "reward": RewardBuffer,
    "surprise": SurpriseBuffer,
    "prioritized": PrioritizedBuffer,
    "prioritized_reservoir": PrioritizedReservoir,
    "rank": RankBuffer,
}

# What can choose the rows of each task in a TaskBuffer or a HybridBuffer.
MEMORIES: dict[str, Callable[..., Buffer]] = {
    name: kind
    for name, kind in BUFFERS.items()
    if isinstance(kind, type) and issubclass(kind, Buffer) and not issubclass(kind, TaskBuffer)
}

# What can hold the recent rows of a HybridBuffer.
RECENT: dict[str, Callable[..., Buffer]] = {
    name: kind
    for name, kind in MEMORIES.items()
    if isinstance(kind, type) and issubclass(kind, ReplayBuffer)
}

__all__ = [
    "BUFFERS",
    "MEMORIES",
    "RECENT",
    "BalancedReservoir",
    "Buffer",
    "Column",
    "CoresetBuffer",
    "CoverageBuffer",
    "EpisodeReservoir",
    "FacilityBuffer",
    "GradientBuffer",
    "HerdingBuffer",
    "HybridBuffer",
    "Memory",
    "MixtureBuffer",
    "MultiTimescaleBuffer",
    "NStep",
    "Prioritized",
    "PrioritizedBuffer",
    "PrioritizedReservoir",
    "RankBuffer",
    "Ranked",
    "ReplayBuffer",
    "ReservoirBuffer",
    "RewardBuffer",
    "Sample",
    "SkipReservoir",
    "SurpriseBuffer",
    "TaskBuffer",
    "TaskReservoir",
    "bytes_needed",
]
