"""Small agents with every option written out, and random rows for them to learn from."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from agents import DQN, DQNOptions
from agents.compiling import missing_compiler

# Textbook DQN. No test leans on a default: those are tuned.
TEXTBOOK = {
    "methods": "none",
    "network": "mlp",
    "hidden": (16, 16),
    "head": "single",
    "task_identity": "known",
    "double": True,
    "dueling": False,
    "layer_norm": False,
    "noisy": False,
    "precision": "float32",
    "distribution": "expectation",
    "atoms": 5,
    "value_limit": 5.0,
    "discount": 0.9,
    "n_step": 1,
    "learning_rate": 1e-3,
    "learning_rate_end": 1e-3,
    "adam_epsilon": 1e-5,
    "gradient_clip": 10.0,
    "huber_delta": 1.0,
    "target_rate": 1.0,
    "target_update_interval": 5,
    "exploratory_steps": 1,
    "normalize_observations": False,
    "scale_rewards": False,
}
# Two tasks in one space: the first lacks the last action.
VALID = np.array([[True, True, False], [True, True, True]])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what this machine lacks something for."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no GPU")
    if item.get_closest_marker("compiler") and missing_compiler():
        pytest.skip("no C++ compiler")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tensors this small are no work to share; threads of two test processes would queue."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def options():
    """Textbook options with some of them changed."""

    def make(**changed: Any) -> DQNOptions:
        return DQNOptions(**{**TEXTBOOK, **changed})

    return make


@pytest.fixture(scope="session")
def agent(options):
    """An agent of one member per seed, with textbook options but for those given."""

    def make(
        seeds: tuple[int, ...] = (0,),
        num_envs: int = 4,
        shape: tuple[int, ...] = (3,),
        valid: np.ndarray = VALID,
        scale: np.ndarray | None = None,
        **changed: Any,
    ) -> DQN:
        ones = np.ones(len(valid), np.float32)
        space = SimpleNamespace(shape=shape, valid=valid, scale=ones if scale is None else scale)
        rngs = [np.random.default_rng(seed) for seed in seeds]
        return DQN(space, options(**changed), rngs, num_envs)

    return make


@pytest.fixture(scope="session")
def rows():
    """Random rows `[members, n, ...]`: member m's depend on its seed only."""

    def one(seed: int, n: int, shape: tuple[int, ...], task: int | None) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([17, seed])
        tasks = rng.integers(2, size=n) if task is None else np.full(n, task)
        q = rng.normal(size=(n, 3)).astype(np.float32)
        q[~VALID[tasks] | (rng.random(n) < 0.5)[:, None]] = np.nan
        return {
            "state": rng.normal(size=(n, *shape)).astype(np.float32),
            "action": rng.integers(VALID.sum(1)[tasks]),
            "reward": rng.normal(size=n).astype(np.float32),
            "next_state": rng.normal(size=(n, *shape)).astype(np.float32),
            "done": rng.random(n) < 0.2,
            "truncated": rng.random(n) < 0.2,
            "task": tasks.astype(np.int32),
            "discount": np.full(n, 0.9, np.float32),
            "q": q,
        }

    def make(
        seeds: tuple[int, ...] = (0,),
        n: int = 8,
        shape: tuple[int, ...] = (3,),
        task: int | None = None,
    ) -> dict[str, np.ndarray]:
        members = [one(seed, n, shape, task) for seed in seeds]
        return {name: np.stack([rows[name] for rows in members]) for name in members[0]}

    return make


@pytest.fixture(scope="session")
def learn():
    """One gradient step, each row weighing the same if no weights are given."""

    def update(
        agent: DQN, data: dict[str, np.ndarray], weight: np.ndarray | None = None, lr: float = 1e-3
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        ones = np.ones(data["reward"].shape, np.float32)
        return agent.update(data, ones if weight is None else weight, 1, lr)

    return update


@pytest.fixture(scope="session")
def same():
    """Whether two trees of dicts, lists, arrays and numbers are bit by bit the same."""

    def check(a: Any, b: Any) -> bool:
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(check(a[key], b[key]) for key in a)
        if isinstance(a, list | tuple):
            return len(a) == len(b) and all(check(x, y) for x, y in zip(a, b, strict=True))
        if hasattr(a, "dtype"):
            a, b = np.asarray(a), np.asarray(b)
            return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        return bool(a == b)

    return check
