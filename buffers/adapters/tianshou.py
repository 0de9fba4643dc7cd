"""A memory inside Tianshou 2: its Collector fills it, its algorithms train on it.

memory = ReservoirBuffer(10_000, state=Column((4,)))
buffer = MemoryVectorBuffer(memory, total_size=8 * 500, buffer_num=8)
collector = Collector(policy, envs, buffer)
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from buffers.adapters.infos import columns_in
from buffers.adapters.missing import how_to_install
from buffers.columns import Memory
from buffers.episodes import episode_marks
from buffers.nested import flat

try:
    import torch
    from tianshou.data import Batch, ReplayBuffer, ReplayBufferManager, VectorReplayBuffer
    from tianshou.data.batch import create_value
except ImportError as error:
    raise how_to_install(error, "retain-rl[tianshou]") from None

Added = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class MemoryVectorBuffer(VectorReplayBuffer):
    """Tianshou's rings for its Collector, beside a memory that its algorithms draw from.

    The Collector reads every finished episode back from the buffer, so it needs rings that keep
    all rows in order; they may be small. Every row is offered to the memory as well, and a sample
    is of the memory's rows, with their importance weights as `weight`. To mix in recent rows, use
    a memory that does, such as `HybridBuffer`.

    Tianshou's algorithms look up the rows of a sample in the buffer's arrays, by index. So a sample
    is copied into a window behind the rings, and its indices are good until the next one.

    Errors come back to the memory through `update_weight`. Tianshou 2.0's DQN leaves weights out of
    its loss if `huber_loss_delta` is given.

    Where observations are dicts, the memory's `state` is a dict of columns. Those of frames are
    stored once in the memory; the rings hold whole stacks, and should be small.

    Rows know no next row, therefore `n_step_return_horizon` has to be 1; a longer one raises
    ValueError. `reset`, which a Collector calls when it is made, empties the rings and not the
    memory. The memory's `end_task`, `clear` and `state_dict` are called on the memory itself.

    A memory of whole episodes cannot know of a reset in mid-episode, such as a Collector's `reset`:
    call its `end_task` before, or the next row of that environment is refused.

    Args:
        memory: any memory. `task`, and whatever else it has a column for, is taken from the
            environments' infos, but for `episode` and `last`: these are the environment and where
            its episode ends.
        total_size: rows of all rings; the ring of an environment has to hold its longest episode.
        buffer_num: number of environments.
        largest_sample: rows of the largest sample.
    """

    _meta: Batch  # the arrays of rings and window

    def __init__(
        self, memory: Memory, total_size: int, buffer_num: int, *, largest_sample: int = 1024
    ) -> None:
        ring = -(-total_size // buffer_num)
        rings = [ReplayBuffer(ring) for _ in range(buffer_num)]
        ReplayBufferManager.__init__(self, [*rings, ReplayBuffer(largest_sample)])
        self.memory = memory
        self.largest_sample = largest_sample
        self._window = ring * buffer_num  # where the window begins
        self._drawn = np.zeros(0, np.int64)  # the memory's index of each row in the window
        self._drawn_weight = np.zeros(0, np.float32)
        self._after: dict[int, list[bytes]] = {}  # what each environment's last row ended in

    def add(self, batch: Batch, buffer_ids: np.ndarray | list[int] | None = None) -> Added:
        """Add one row per environment to the rings and offer it to the memory.

        Raises:
            ValueError: the memory refuses a row, there is no ring for an environment, or one was
                reset in mid-episode of which the memory keeps rows waiting. Memory and rings then
                stay as they were.
        """
        rings = self.buffer_num - 1
        buffer_ids = np.arange(rings) if buffer_ids is None else np.asarray(buffer_ids)
        if (buffer_ids >= rings).any():
            raise ValueError(
                f"row of environment {buffer_ids.max()}: this buffer has {rings} rings"
            )
        rows = {
            "state": _plain(batch.obs),
            "action": batch.act,
            "reward": batch.rew,
            "next_state": _plain(batch.obs_next),
            "done": batch.terminated,
            "truncated": batch.truncated,
        }
        whole = "episode" in self.memory.columns  # episodes are to be kept, perhaps
        if whole:
            self._check_run_on(buffer_ids, rows)
        ended = np.asarray(batch.terminated | batch.truncated)
        infos = dict(batch.info.items()) if "info" in batch else None
        known = columns_in(infos, self.memory.columns)
        self.memory.add(rows | known | episode_marks(ended, self.memory.columns, buffer_ids))
        added: Added = super().add(batch, buffer_ids)
        if whole:
            self._after |= _by_env(buffer_ids, rows["next_state"])
        return added

    def _check_run_on(self, buffer_ids: np.ndarray, rows: Mapping[str, Any]) -> None:
        """Raise ValueError where an episode that the memory waits for does not go on.

        Nobody tells the buffer of a reset, so that rows of two episodes would become one.
        """
        waiting = set(self.memory.waiting("episode").tolist())
        for env, before in _by_env(buffer_ids, rows["state"]).items():
            if env in waiting and before != self._after.get(env, before):
                raise ValueError(
                    f"environment {env} was reset before its episode ended: call the memory's "
                    "end_task() first, which drops the rows of running episodes"
                )

    def sample(self, batch_size: int | None) -> tuple[Batch, np.ndarray]:
        """Draw rows of the memory; 0 or None returns the rings' rows, as Tianshou has it."""
        batch, indices = super().sample(batch_size)
        if batch_size:
            batch.weight = self._drawn_weight
        return batch, indices

    def sample_indices(self, batch_size: int | None) -> np.ndarray:
        """Draw rows of the memory into the window and return where they are there."""
        if not batch_size:
            rings: np.ndarray = super().sample_indices(batch_size)
            return rings
        if batch_size > self.largest_sample:
            raise ValueError(
                f"sample of {batch_size} rows: expected at most {self.largest_sample}; "
                "make the buffer with a larger `largest_sample`"
            )
        data, self._drawn, self._drawn_weight = self.memory.sample(batch_size)
        indices = self._window + np.arange(batch_size)
        self._show(indices, data)
        return indices

    def _show(self, indices: np.ndarray, data: dict[str, np.ndarray]) -> None:
        rows = Batch(
            obs=data["state"],
            act=data["action"],
            rew=data["reward"].astype(float),
            terminated=data["done"],
            truncated=data["truncated"],
            done=data["done"] | data["truncated"],
            obs_next=data["next_state"],
        )
        if not self._meta.get_keys():  # the memory was filled elsewhere
            self._meta = create_value(rows, self.maxsize, stack=False)
            self._set_batch_for_children()
        if "info" in self._meta:
            known = data.keys() & self._meta.info.keys()
            rows.info = Batch({name: data[name] for name in known})
        self._meta[indices] = rows

    def update_weight(self, index: np.ndarray, new_weight: np.ndarray | torch.Tensor) -> None:
        """Tell the memory how wrong the learner was on the rows of the latest sample."""
        td_error = torch.as_tensor(new_weight).detach().cpu().numpy()
        self.memory.feedback(self._drawn[index - self._window], td_error)

    def next(self, index: int | np.ndarray) -> int | np.ndarray:
        """Return the index of the next row of the episode, in the rings.

        Raises:
            ValueError: an index is of a row of the memory.
        """
        if np.any(np.asarray(index) >= self._window):
            raise ValueError("rows of a memory have no next row: use n_step_return_horizon=1")
        following: int | np.ndarray = super().next(index)
        return following


def _plain(obs: Any) -> Any:
    """Observations as the memory takes them: dicts where Tianshou has Batches."""
    return {k: _plain(v) for k, v in obs.items()} if isinstance(obs, Batch) else obs


def _by_env(buffer_ids: np.ndarray, obs: Any) -> dict[int, list[bytes]]:
    """The observation of each environment, as bytes to compare."""
    leaves = [np.asarray(values) for values in flat({"obs": obs}).values()]
    return {int(env): [v[row].tobytes() for v in leaves] for row, env in enumerate(buffer_ids)}
