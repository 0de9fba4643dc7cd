"""A memory under the interface of Stable-Baselines3's ReplayBuffer, for scripts in CleanRL's style.

memory = ReservoirBuffer(10_000, **columns(envs.single_observation_space, envs.single_action_space))
rb = ReplayBuffer(memory, device)
rb.add(obs, real_next_obs, actions, rewards, terminations, infos)
data = rb.sample(128)  # data.observations, data.actions, ...
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from buffers.adapters.infos import Infos, columns_in, timeouts
from buffers.adapters.missing import how_to_install
from buffers.columns import Column, Memory
from buffers.episodes import episode_marks

try:
    import torch
except ImportError as error:
    raise how_to_install(error, "retain-rl") from None

if TYPE_CHECKING:
    from gymnasium import Space


class Samples(NamedTuple):
    """Rows drawn from a memory, as tensors on the buffer's device.

    Attributes:
        observations, next_observations: [n, *shape], in their own dtype; dicts of these where
            observations are dicts.
        actions: [n, *shape]; [n, 1] where an action is a number, as `gather(1, actions)` needs.
        dones: float32 [n, 1]; 1 where the episode terminated, 0 also where it was truncated.
        rewards: float32 [n, 1].
        weights: importance weight of each row, float32 [n, 1].
        tasks: int64 [n].
        indices: where each row is stored, int64 [n]; give it to `feedback`.
    """

    observations: Any
    actions: torch.Tensor
    next_observations: Any
    dones: torch.Tensor
    rewards: torch.Tensor
    weights: torch.Tensor
    tasks: torch.Tensor
    indices: torch.Tensor


class ReplayBuffer:
    """Adds and samples as Stable-Baselines3's buffer does; `memory` decides what is kept and drawn.

    Args:
        memory: any memory; `columns` says which columns it needs.
        device: where samples go.
    """

    def __init__(self, memory: Memory, device: torch.device | str = "cpu") -> None:
        self.memory = memory
        self.device = torch.device(device)

    def __len__(self) -> int:
        return len(self.memory)

    def size(self) -> int:
        """Rows stored."""
        return len(self.memory)

    def add(
        self,
        obs: ArrayLike | Mapping[str, ArrayLike],
        next_obs: ArrayLike | Mapping[str, ArrayLike],
        actions: ArrayLike,
        rewards: ArrayLike,
        terminations: ArrayLike,
        infos: Infos = None,
        truncations: ArrayLike | None = None,
    ) -> None:
        """Offer one row per environment to the memory; all is copied.

        Args:
            obs: [n, *shape], or a dict of such.
            next_obs: [n, *shape]; where an episode ended its true last observation, not the first
                one of the next episode.
            actions: [n, *shape].
            rewards: [n].
            terminations: bool [n]. A row whose info says `TimeLimit.truncated` does not count as
                terminated, so that Stable-Baselines3's `dones` may be given as well.
            infos: a dict per environment, Gymnasium's dict of arrays, or None. `task`, and whatever
                else the memory has a column for, is taken from there, but for `episode` and `last`:
                these are the environment and where its episode ends.
            truncations: bool [n]; for a memory of whole episodes, unless infos say so, as those of
                Gymnasium 1 do not: an episode that nobody ends goes on with the next one's rows.

        Raises:
            ValueError: as of `Buffer.add`. The memory then stays as it was.
        """
        ended, wanted = np.asarray(terminations, bool), self.memory.columns
        timeout = timeouts(infos, len(ended))
        truncated = timeout if truncations is None else timeout | np.asarray(truncations, bool)
        rows = {
            "state": obs,
            "action": actions,
            "reward": rewards,
            "next_state": next_obs,
            "done": ended & ~timeout,
            "truncated": truncated,
        }
        marks = episode_marks(ended | truncated, wanted)
        self.memory.add(rows | columns_in(infos, wanted) | marks)

    def sample(self, batch_size: int) -> Samples:
        """Draw `batch_size` rows. Raises ValueError where the memory has none to draw."""
        data, index, weight = self.memory.sample(batch_size)
        return Samples(
            observations=self._observations(data["state"]),
            actions=self._column(data["action"]),
            next_observations=self._observations(data["next_state"]),
            dones=self._column(data["done"]).float(),
            rewards=self._column(data["reward"]),
            weights=self._column(weight),
            tasks=self._tensor(data["task"]).long(),
            indices=torch.from_numpy(index),
        )

    def feedback(self, indices: torch.Tensor, td_error: torch.Tensor) -> None:
        """Tell the memory how wrong the learner was on a sample's rows; td_error [n] or [n, 1]."""
        self.memory.feedback(indices.cpu().numpy(), td_error.detach().cpu().numpy().reshape(-1))

    def _observations(self, values: Any) -> Any:
        if isinstance(values, Mapping):
            return {name: self._observations(part) for name, part in values.items()}
        return self._tensor(values)

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(self.device)

    def _column(self, values: np.ndarray) -> torch.Tensor:
        return self._tensor(values[:, None] if values.ndim == 1 else values)


def columns(
    observation_space: "Space[Any]", action_space: "Space[Any]", frames: int = 0
) -> dict[str, Any]:
    """Return `state` and `action` of the spaces of one environment, for a memory's constructor.

    Args:
        observation_space: of one array, or a Dict of such: then each key is a column.
        action_space: of one array.
        frames: of how many frames an observation consists along its first axis, such as 4, each
            distinct one to be stored once; not for a Dict, whose columns are changed by hand.

    Raises:
        ValueError: a space is of something else, such as Text.
    """
    return {
        "state": _columns_of("observation", observation_space, frames),
        "action": _column_of("action", action_space),
    }


def _columns_of(name: str, space: "Space[Any]", frames: int) -> Any:
    if not isinstance(keys := getattr(space, "spaces", None), Mapping):
        return _column_of(name, space)._replace(frames=frames)
    if frames:
        raise ValueError(f"frames={frames}: which of {sorted(keys)}? set it in their columns")
    return {key: _columns_of(f"{name} {key!r}", part, 0) for key, part in keys.items()}


def _column_of(name: str, space: "Space[Any]") -> Column:
    if space.shape is None or space.dtype is None or space.dtype.kind not in "biuf":
        raise ValueError(f"{name} space: expected one array of numbers, given {space}")
    return Column(space.shape, space.dtype)
