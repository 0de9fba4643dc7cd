"""MountainCar with its physics as keywords: one environment, and many stepped together."""

import numpy as np
from gymnasium.envs.classic_control.mountain_car import MountainCarEnv

from envs.native.base import NativeVectorEnv, bounded
from envs.native.physics import finite, nonzero


class MountainCar(MountainCarEnv):
    """Gymnasium's MountainCar (Moore 1990) with other physics if wanted.

    Args:
        goal_velocity: The goal must be reached at this speed at least; the car's top speed is
            0.07.
        gravity: What pulls the car into the valley, per step.
        force: What action 2 adds to the velocity; action 0 subtracts it. Negative: reversed.
        render_mode: As Gymnasium's.

    Raises:
        ValueError: A number that is not finite, no force, or a goal velocity never reached.
    """

    def __init__(
        self,
        goal_velocity: float = 0.0,
        gravity: float = 0.0025,
        force: float = 0.001,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode, finite("goal_velocity", goal_velocity))
        if self.goal_velocity > self.max_speed:
            raise ValueError(
                f"goal_velocity must be at most {self.max_speed}, the car's top speed, "
                f"got {goal_velocity}"
            )
        self.gravity = finite("gravity", gravity)
        self.force = nonzero("force", force)


class MountainCarVector(NativeVectorEnv):
    """Many `MountainCar`, stepped together; `physics` are what it takes."""

    world = MountainCar
    first_state = (-0.6, -0.4)
    single: MountainCar

    def _prepare(self) -> None:
        self._state = np.zeros((2, self.num_envs))
        self._push = np.arange(-1, 2) * self.single.force

    def _draw(self, rng: np.random.Generator, low: float, high: float) -> np.ndarray:
        return np.array([rng.uniform(low, high), 0.0])

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """MountainCarEnv.step, in the same order of operations, so that every bit is the same."""
        world, (position, velocity) = self.single, self._state
        velocity = velocity + (self._push[actions] + np.cos(3 * position) * -world.gravity)
        velocity = bounded(velocity, -world.max_speed, world.max_speed)
        position = bounded(position + velocity, world.min_position, world.max_position)
        velocity[(position == world.min_position) & (velocity < 0)] = 0.0
        self._state[0], self._state[1] = position, velocity
        terminated = (position >= world.goal_position) & (velocity >= world.goal_velocity)
        return np.full(self.num_envs, -1.0), terminated
