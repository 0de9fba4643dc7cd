"""Classic control in NumPy: all copies step together, bit by bit as Gymnasium's single ones.

Importing this package registers, for anybody's `gym.make` and `gym.make_vec`, the ids
`retain/CartPole-v1`, `retain/Acrobot-v1` and `retain/MountainCar-v0`: Gymnasium's environments,
which here take their physics as keywords, each alone and as a `VectorEnv` of its own. And
`retain/CartPoleReversed-v1`, a CartPole that wants other actions.

    envs = gym.make_vec(
        "retain/CartPole-v1", num_envs=8, vectorization_mode="vector_entry_point", gravity=1.6
    )
"""

import gymnasium as gym

from envs.native.acrobot import Acrobot, AcrobotVector
from envs.native.base import NativeVectorEnv
from envs.native.cartpole import CartPole, CartPoleVector
from envs.native.mountain_car import MountainCar, MountainCarVector

NATIVE: dict[str, str] = {
    "CartPole-v0": "retain/CartPole-v1",
    "CartPole-v1": "retain/CartPole-v1",
    "Acrobot-v1": "retain/Acrobot-v1",
    "MountainCar-v0": "retain/MountainCar-v0",
}
"""Gymnasium's ids, and the id under which a vector environment of ours steps the same."""


def _register(env_id: str, like: str, module: str, name: str, **kwargs: object) -> None:
    """Registers our `name`, with the time limit and the threshold of the environment `like`."""
    spec = gym.spec(like)
    gym.register(
        env_id,
        entry_point=f"envs.native.{module}:{name}",
        vector_entry_point=f"envs.native.{module}:{name}Vector",
        max_episode_steps=spec.max_episode_steps,
        reward_threshold=spec.reward_threshold,
        kwargs=kwargs,
    )


_register("retain/CartPole-v1", "CartPole-v1", "cartpole", "CartPole")
_register("retain/Acrobot-v1", "Acrobot-v1", "acrobot", "Acrobot")
_register("retain/MountainCar-v0", "MountainCar-v0", "mountain_car", "MountainCar")
# Pushes the other way, weaker, under a longer and heavier pole: what balances CartPole drops this.
_register(
    "retain/CartPoleReversed-v1",
    "CartPole-v1",
    "cartpole",
    "CartPole",
    force_mag=-3.0,
    length=1.5,
    masspole=0.5,
)

__all__ = [
    "NATIVE",
    "Acrobot",
    "AcrobotVector",
    "CartPole",
    "CartPoleVector",
    "MountainCar",
    "MountainCarVector",
    "NativeVectorEnv",
]
