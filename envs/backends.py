"""What steps many copies of an environment: `--vectorization auto|sync|async|native|envpool`."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import AutoresetMode, VectorEnv

from envs.native import NATIVE, NativeVectorEnv
from envs.sync import SyncEnvs

Vectorization = Literal["auto", "sync", "async", "native", "envpool"]


def choose_backend(
    env_id: str, num_envs: int, vectorization: Vectorization, kwargs: Mapping[str, Any]
) -> Vectorization:
    """What `vectorization` means for so many copies of an environment: never `auto`.

    Raises:
        ValueError: The environment cannot be stepped so, or EnvPool is not installed.
    """
    native = native_kind(env_id)
    match vectorization:
        case "auto":
            return "native" if native and num_envs >= native.pays_from else "sync"
        case "native" if native is None:
            raise ValueError(
                f"{env_id} has no native vectorization; those that have: "
                f"{', '.join(NATIVE)}: use --vectorization auto"
            )
        case "envpool":
            from envs.pool import check_pool

            check_pool(env_id, kwargs)
    return vectorization


def make_backend(
    env_id: str, num_envs: int, vectorization: Vectorization, kwargs: Mapping[str, Any]
) -> VectorEnv[Any, Any, Any]:
    """`num_envs` copies with autoreset disabled: who steps them resets them.

    All take one seed per copy and `options={"reset_mask": mask}` in `reset`, as Gymnasium's
    `SyncVectorEnv` does; EnvPool takes the seeds of its first reset only.

    Args:
        env_id: Registered id.
        num_envs: How many copies.
        vectorization: What steps them.
        kwargs: Passed to the environment's constructor.

    Raises:
        ValueError: See `choose_backend`.
    """
    backend = choose_backend(env_id, num_envs, vectorization, kwargs)
    if backend == "native":
        return make_native(env_id, num_envs, kwargs, AutoresetMode.DISABLED)
    if backend == "envpool":
        from envs.pool import PoolEnvs

        return PoolEnvs(env_id, num_envs, kwargs)
    # A spec is known also in a process that has not imported the module that registers it.
    make = partial(gym.make, gym.spec(env_id), disable_env_checker=True, **kwargs)
    if backend == "async":
        from envs.workers import WorkerEnvs

        return WorkerEnvs(env_id, [make] * num_envs)
    return SyncEnvs([make] * num_envs, autoreset_mode=AutoresetMode.DISABLED)


def make_native(
    env_id: str, num_envs: int, kwargs: Mapping[str, Any], mode: AutoresetMode
) -> VectorEnv[Any, Any, Any]:
    """A native vector environment with the time limit that `env_id` is registered with."""
    return gym.make_vec(
        NATIVE.get(env_id, env_id),
        num_envs=num_envs,
        vectorization_mode="vector_entry_point",
        max_episode_steps=gym.spec(env_id).max_episode_steps,
        autoreset_mode=mode,
        **kwargs,
    )


def native_kind(env_id: str) -> type[NativeVectorEnv] | None:
    """The vector environment that steps this environment natively; None: there is none.

    That is the one registered under the id's name in `NATIVE`, or else under the id itself.
    """
    spec = gym.spec(NATIVE.get(env_id, env_id))
    entry = spec.vector_entry_point
    if entry is None or spec.additional_wrappers:
        return None
    try:
        kind: Any = load_env_creator(entry) if isinstance(entry, str) else entry
    except ImportError:  # of a library that is not installed
        return None
    return kind if isinstance(kind, type) and issubclass(kind, NativeVectorEnv) else None
