"""One task: a registered Gymnasium environment under a short name."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import find_highest_version, get_env_id, parse_env_id
from gymnasium.vector import AutoresetMode, VectorEnv

from envs.backends import (
    Vectorization,
    choose_backend,
    make_backend,
    make_native,
    native_kind,
)


@dataclass(frozen=True)
class Task:
    """An environment to be learned.

    Attributes:
        name: Short name, shown in tables and TensorBoard; one name is one task.
        env_id: Registered Gymnasium id, with its version.
        steps: Environment steps to train for, or None for the run's `steps`.
        kwargs: Passed to the environment's constructor.
    """

    name: str
    env_id: str
    steps: int | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def make_env(self, render_mode: str | None = None) -> gym.Env:
        """One environment, as evaluation and videos use it."""
        # Not every environment knows the word.
        mode: dict[str, Any] = {} if render_mode is None else {"render_mode": render_mode}
        return gym.make(self.env_id, disable_env_checker=True, **mode, **self.kwargs)

    @property
    def has_native(self) -> bool:
        """Whether there are native environments of it."""
        return native_kind(self.env_id) is not None

    def backend(self, num_envs: int, vectorization: Vectorization = "auto") -> Vectorization:
        """What steps so many copies: `auto` is `native` where that is faster, else `sync`.

        Raises:
            ValueError: The task cannot be stepped so, or EnvPool is not installed.
        """
        return choose_backend(self.env_id, num_envs, vectorization, self.kwargs)

    def make_vec(self, num_envs: int, vectorization: Vectorization = "auto") -> VectorEnv:
        """`num_envs` environments stepped together; who steps them resets them (no autoreset).

        Raises:
            ValueError: See `backend`.
        """
        return make_backend(self.env_id, num_envs, vectorization, self.kwargs)

    def make_native(self, num_envs: int) -> VectorEnv:
        """The same for a task that has native ones, but resetting themselves (NEXT_STEP)."""
        return make_native(self.env_id, num_envs, self.kwargs, AutoresetMode.NEXT_STEP)

    @property
    def solved_at(self) -> float | None:
        """The return at which Gymnasium's registry calls the environment solved, if it says so."""
        return gym.spec(self.env_id).reward_threshold


def find_task(text: str, steps: int | None = None) -> Task:
    """The task behind `CartPole` (newest version), `CartPole-v1` or `my_package:MyEnv-v0`.

    Raises:
        ValueError: No such environment is registered; the message names the nearest ones.
    """
    env_id = _newest(text)
    try:
        gym.spec(env_id)
    except (gym.error.Error, ModuleNotFoundError):
        raise ValueError(f"unknown environment {text!r}{_nearest(text)}") from None
    return Task(_short_name(env_id), env_id, steps)


def _newest(text: str) -> str:
    """The id in `text` with the newest registered version where it names none."""
    module, _, plain = text.rpartition(":")
    if module:
        gym_import(module)
    try:
        namespace, name, version = parse_env_id(plain)
    except gym.error.Error:
        raise ValueError(f"unknown environment {text!r}{_nearest(text)}") from None
    if version is None and plain not in gym.registry:
        version = find_highest_version(namespace, name)
    return get_env_id(namespace, name, version)  # its module is imported: the registry knows it


def gym_import(module: str) -> None:
    """Imports the module that registers an environment named `module:Id`."""
    import importlib

    if module.startswith("."):
        raise ValueError(f"{module!r} is no module's name: write it as in Python's import")
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"no module {error.name!r}, which {module}:... needs: install it, "
            "or write steps as a whole number"
        ) from None


def _short_name(env_id: str) -> str:
    """The id without its version, if that is the newest."""
    namespace, name, version = parse_env_id(env_id)
    newest = find_highest_version(namespace, name)
    return get_env_id(namespace, name, None if version == newest else version)


def _nearest(text: str) -> str:
    names = {get_env_id(s.namespace, s.name, None): s for s in gym.registry.values()}
    by_lower = {name.lower(): name for name in names}
    plain = text.rpartition(":")[2].split("-v")[0].lower()
    close = difflib.get_close_matches(plain, by_lower, n=3, cutoff=0.5)
    found = ", ".join(by_lower[name] for name in close)
    versions = sorted(s.id for s in gym.registry.values() if (s.name or "").lower() == plain)
    found = ", ".join(versions) if versions else found
    return f"; did you mean {found}?" if found else "; see gymnasium.pprint_registry()"
