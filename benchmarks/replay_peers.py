"""The same work for the replay buffers of other libraries, for benchmarks/replay.py.

Each function returns a `Subject`, or raises ImportError where its library is not installed. All
hold 8 floats per state in float32, a discrete action, a reward and the end of an episode, replay
uniformly and are full before anything is timed. What a library cannot do is left out.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

FLOATS, ACTIONS = 8, 4
EPISODE = 100  # rows of an episode
Operation = Callable[[], Any]


class Subject(NamedTuple):
    """One library's buffer.

    Attributes:
        operations: by name; each call does the work once.
        drawn: states [n, 8] and rewards [n] of a sample, to see whether they belong together.
        bytes: of all arrays, filled or not.
    """

    operations: dict[str, Operation]
    drawn: Callable[[], tuple[Any, Any]]
    bytes: int


def rows_of(n: int, first: int = 0) -> dict[str, np.ndarray]:
    """Rows whose reward and state tell which row they are, of episodes one after the other."""
    place = np.arange(first, first + n)
    number = place.astype(np.float32)
    state = np.repeat(number[:, None], FLOATS, axis=1)
    return {
        "state": state,
        "action": place % ACTIONS,
        "reward": number,
        "next_state": state + 1,
        "done": place % EPISODE == EPISODE - 1,
    }


def sb3(capacity: int, batch: int) -> Subject:
    from gymnasium import spaces
    from stable_baselines3.common.buffers import ReplayBuffer

    def make(envs: int) -> ReplayBuffer:
        space = spaces.Box(-np.inf, np.inf, (FLOATS,)), spaces.Discrete(ACTIONS)
        return ReplayBuffer(capacity, *space, device="cpu", n_envs=envs)

    def add(buffer: ReplayBuffer, rows: dict[str, np.ndarray]) -> None:
        buffer.add(
            rows["state"], rows["next_state"], rows["action"], rows["reward"], rows["done"],
            [{}] * len(rows["reward"]),
        )  # fmt: skip

    buffer, single, eight = make(1), make(1), make(8)
    for first in range(capacity):
        add(buffer, rows_of(1, first))
    one, steps = rows_of(1), [rows_of(8, first) for first in range(0, batch, 8)]
    arrays = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")

    def drawn() -> tuple[Any, Any]:
        sample = buffer.sample(batch)
        return sample.observations, sample.rewards[:, 0]

    return Subject(
        {
            "sample": lambda: buffer.sample(batch),
            "sample, new tensors": lambda: buffer.sample(batch),
            "sample, tensors": lambda: buffer.sample(batch),
            "add one": lambda: add(single, one),
            "add batch": lambda: [add(eight, rows) for rows in steps],
        },
        drawn,
        sum(getattr(buffer, name).nbytes for name in arrays),
    )


def tianshou(capacity: int, batch: int) -> Subject:
    from tianshou.data import Batch, PrioritizedReplayBuffer, ReplayBuffer

    def row(number: int) -> Batch:
        rows = {name: values[0] for name, values in rows_of(1, number).items()}
        return Batch(
            obs=rows["state"], act=rows["action"], rew=rows["reward"], obs_next=rows["next_state"],
            terminated=rows["done"], truncated=False,
        )  # fmt: skip

    buffer, single = ReplayBuffer(capacity), ReplayBuffer(capacity)
    prioritized = PrioritizedReplayBuffer(capacity, alpha=0.6, beta=0.4)
    for number in range(capacity):
        buffer.add(row(number))
        prioritized.add(row(number))
    one, rows = row(0), [row(number) for number in range(batch)]
    names, error = ("obs", "act", "rew", "obs_next", "done"), np.ones(batch)

    def tensors() -> list[torch.Tensor]:
        sample = buffer.sample(batch)[0]
        return [torch.from_numpy(sample[name]) for name in names]

    def drawn() -> tuple[Any, Any]:
        sample = buffer.sample(batch)[0]
        return sample.obs, sample.rew

    return Subject(
        {
            "sample": lambda: buffer.sample(batch),
            "sample, new tensors": tensors,
            "sample, tensors": tensors,
            "add one": lambda: single.add(one),
            "add batch": lambda: [single.add(each) for each in rows],
            "prioritized": lambda: prioritized.update_weight(prioritized.sample(batch)[1], error),
        },
        drawn,
        sum(values.nbytes for values in buffer._meta.values() if isinstance(values, np.ndarray)),
    )


def torchrl(capacity: int, batch: int) -> Subject:
    from tensordict import TensorDict
    from torchrl.data import LazyTensorStorage, ReplayBuffer

    def rows(n: int, first: int = 0) -> TensorDict:
        columns = {name: torch.from_numpy(values) for name, values in rows_of(n, first).items()}
        return TensorDict(columns, [n])

    buffer, other = (
        ReplayBuffer(storage=LazyTensorStorage(capacity), batch_size=batch) for _ in range(2)
    )
    buffer.extend(rows(capacity))
    one, many = rows(1)[0], rows(batch)

    def drawn() -> tuple[Any, Any]:
        sample = buffer.sample()
        return sample["state"], sample["reward"]

    return Subject(
        {
            "sample": buffer.sample,
            "sample, new tensors": buffer.sample,
            "sample, tensors": buffer.sample,
            "add one": lambda: other.add(one),
            "add batch": lambda: other.extend(many),
        }
        | _torchrl_prioritized(capacity, batch, rows),
        drawn,
        buffer.storage._storage.bytes(),
    )


def _torchrl_prioritized(
    capacity: int, batch: int, rows: Callable[[int], Any]
) -> dict[str, Operation]:
    """Nothing where TorchRL's compiled sum tree does not load, as beside a newer PyTorch."""
    from torchrl.data import LazyTensorStorage, PrioritizedSampler, ReplayBuffer

    try:
        sampler = PrioritizedSampler(capacity, 0.6, 0.4)
    except RuntimeError:
        return {}
    buffer = ReplayBuffer(storage=LazyTensorStorage(capacity), sampler=sampler, batch_size=batch)
    buffer.extend(rows(capacity))
    error = torch.ones(batch)

    def sample_and_update() -> None:
        _, info = buffer.sample(return_info=True)
        buffer.update_priority(info["index"], error)

    return {"prioritized": sample_and_update}


def cpprb(capacity: int, batch: int) -> Subject:
    from cpprb import PrioritizedReplayBuffer, ReplayBuffer

    columns = {
        "state": {"shape": FLOATS},
        "action": {"dtype": np.int64},
        "reward": {},
        "next_state": {"shape": FLOATS},
        "done": {"dtype": np.bool_},
    }
    buffer, other = ReplayBuffer(capacity, columns), ReplayBuffer(capacity, columns)
    prioritized = PrioritizedReplayBuffer(capacity, columns, alpha=0.6)
    buffer.add(**rows_of(capacity))
    prioritized.add(**rows_of(capacity))
    one = {name: values[0] for name, values in rows_of(1).items()}
    many, error = rows_of(batch), np.ones(batch)

    def tensors() -> list[torch.Tensor]:
        return [torch.from_numpy(values) for values in buffer.sample(batch).values()]

    def sample_and_update() -> None:
        sample = prioritized.sample(batch, beta=0.4)
        prioritized.update_priorities(sample["indexes"], error)

    def drawn() -> tuple[Any, Any]:
        sample = buffer.sample(batch)
        return sample["state"], sample["reward"][:, 0]

    return Subject(
        {
            "sample": lambda: buffer.sample(batch),
            "sample, new tensors": tensors,
            "sample, tensors": tensors,
            "add one": lambda: other.add(**one),
            "add batch": lambda: other.add(**many),
            "prioritized": sample_and_update,
        },
        drawn,
        sum(values.nbytes for values in buffer.get_all_transitions().values()),
    )


PEERS: dict[str, Callable[[int, int], Subject]] = {
    "SB3": sb3,
    "Tianshou": tianshou,
    "TorchRL": torchrl,
    "cpprb": cpprb,
}
