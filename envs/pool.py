"""EnvPool's C++ environments behind Gymnasium's interface (the extra `envpool`)."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space


class PoolEnvs(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """`num_envs` copies in EnvPool (Weng et al. 2022, arXiv:2206.10558), stepped together.

    EnvPool seeds a copy once, not an episode: the first reset's seeds (modulo 2^31) are those of
    all episodes to come, and later ones are not used. Its reset of chosen copies is what
    `options={"reset_mask": mask}` stands for. It steps in float32 or float64 as it likes, so its
    episodes are like Gymnasium's, but not the same.

    Args:
        env_id: An id that Gymnasium and EnvPool both know.
        num_envs: How many copies.
        kwargs: EnvPool's own options.

    Raises:
        ValueError: EnvPool is not installed, or has nothing like this.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012

    def __init__(self, env_id: str, num_envs: int, kwargs: Mapping[str, Any]) -> None:
        check_pool(env_id, kwargs)
        self.num_envs, self._env_id, self._kwargs = num_envs, env_id, dict(kwargs)
        if limit := gym.spec(env_id).max_episode_steps:
            self._kwargs.setdefault("max_episode_steps", limit)
        self.single_observation_space, self.single_action_space = _spaces(env_id, kwargs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._pool: Any = None  # made with the first seeds

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins new episodes; the first call makes the copies, with one seed for each."""
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        if self._pool is None:
            self._pool = self._open(seed)
            with _unwarned():
                obs, info = self._pool.reset()
            self._obs = obs[np.argsort(info["env_id"])]
        else:
            obs, info = self._pool.reset(np.flatnonzero(mask).astype(np.int32))
            self._obs = self._obs.copy()
            self._obs[info["env_id"]] = obs
        return self._obs, {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Steps every copy: the running episode's, as each ended one was reset."""
        *results, info = self._pool.step(actions)
        order = np.argsort(info["env_id"])
        obs, reward, terminated, truncated = (each[order] for each in results)
        self._obs = obs
        return obs, reward, terminated, truncated, {}

    def close_extras(self, **kwargs: Any) -> None:
        """Lets the copies and their threads go."""
        if self._pool is not None:
            self._pool.close()
        self._pool = None

    def _open(self, seeds: Any) -> Any:
        import envpool

        if seeds is not None:
            self._kwargs["seed"] = [int(seed) % 2**31 for seed in seeds]
        return envpool.make_gymnasium(self._env_id, num_envs=self.num_envs, **self._kwargs)


def check_pool(env_id: str, kwargs: Mapping[str, Any]) -> None:
    """Refuses what EnvPool cannot step as Gymnasium does.

    Raises:
        ValueError: Says what to do instead.
    """
    try:
        import envpool
    except ImportError:
        raise ValueError(
            "--vectorization envpool needs EnvPool: pip install 'retain-rl[envpool]'"
        ) from None
    if env_id not in envpool.list_all_envs():
        raise ValueError(f"EnvPool has no {env_id}: use --vectorization auto")
    try:
        pooled = _spaces(env_id, kwargs)
    except (TypeError, ValueError) as error:
        raise ValueError(f"EnvPool cannot make {env_id}: {error}") from None
    single = gym.make(env_id, disable_env_checker=True)
    if _sizes(single.observation_space, single.action_space) != _sizes(*pooled):
        raise ValueError(f"EnvPool's {env_id} has other spaces: use --vectorization auto")


def _spaces(env_id: str, kwargs: Mapping[str, Any]) -> tuple[gym.Space[Any], gym.Space[Any]]:
    import envpool

    spec = envpool.make_spec(env_id, **kwargs)
    with _unwarned():
        return spec.observation_space, spec.action_space


@contextmanager
def _unwarned() -> Iterator[None]:
    """Drops Gymnasium's warning, at every space of EnvPool's, that its bounds become float32."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s).*precision lowered by casting")
        yield


def _sizes(obs: gym.Space[Any], action: gym.Space[Any]) -> tuple[Any, ...]:
    """What the encoding of observations and the choice of actions depend on."""
    return obs.shape, getattr(action, "n", None), getattr(action, "start", None)
