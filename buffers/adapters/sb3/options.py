"""Which memory is meant, and what cannot work with any."""

from collections.abc import Callable, Mapping
from typing import Any

from buffers import BUFFERS, Memory
from buffers.names import check_known

OF_HER = ("n_sampled_goal", "goal_selection_strategy", "copy_info_dict")


def refuse(optimize_memory_usage: bool, lacks_gamma: bool, options: Mapping[str, Any]) -> None:
    """Raise ValueError, with the reason, for arguments of SB3 that no memory can serve."""
    if optimize_memory_usage:
        raise ValueError(
            "optimize_memory_usage finds the next observation in the row that follows, "
            "but a memory that chooses its rows has no such row: leave it False; for stacked "
            "images, frames= saves more"
        )
    if lacks_gamma:
        raise ValueError("n_steps sums discounted rewards: pass the algorithm's gamma beside it")
    if of_her := [name for name in OF_HER if name in options]:
        raise ValueError(
            f"{of_her[0]} is of hindsight experience replay, which needs whole episodes, "
            "but a memory keeps single steps: use SB3's HerReplayBuffer"
        )


def maker(memory: str | Callable[..., Memory]) -> Callable[..., Memory]:
    """What makes the memory of this name; ValueError, with the nearest name, if there is none."""
    if callable(memory):
        return memory
    check_known("memory", memory, BUFFERS)
    return BUFFERS[memory]
