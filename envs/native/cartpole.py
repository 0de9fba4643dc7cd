"""CartPole with its physics as keywords: one environment, and many stepped together."""

from typing import TypeVar

import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

from envs.native.base import NativeVectorEnv
from envs.native.physics import finite, nonzero, positive

FEW = 10  # copies that are stepped sooner one by one than together, by benchmarks/env_steps.py
Numbers = TypeVar("Numbers", float, np.ndarray)


class CartPole(CartPoleEnv):
    """Gymnasium's CartPole (Barto, Sutton, Anderson 1983) with other physics if wanted.

    Args:
        gravity: Acceleration downwards [m/s^2].
        masscart: Mass of the cart [kg].
        masspole: Mass of the pole [kg].
        length: Half the pole's length [m].
        force_mag: Force of action 1; action 0 has the opposite [N]. Negative: reversed.
        tau: Time of a step [s].
        sutton_barto_reward: Gymnasium's: 0 for every step and -1 for the fall, instead of 1.
        render_mode: As Gymnasium's.

    Raises:
        ValueError: A mass, a length or a time that is not positive, or a number not finite.
    """

    def __init__(
        self,
        gravity: float = 9.8,
        masscart: float = 1.0,
        masspole: float = 0.1,
        length: float = 0.5,
        force_mag: float = 10.0,
        tau: float = 0.02,
        sutton_barto_reward: bool = False,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(sutton_barto_reward, render_mode)
        self.gravity = finite("gravity", gravity)
        self.masscart = positive("masscart", masscart)
        self.masspole = positive("masspole", masspole)
        self.length = positive("length", length)
        self.force_mag = nonzero("force_mag", force_mag)
        self.tau = positive("tau", tau)
        self.total_mass = self.masspole + self.masscart
        self.polemass_length = self.masspole * self.length


class CartPoleVector(NativeVectorEnv):
    """Many `CartPole`, stepped together; `physics` are what it takes."""

    world = CartPole
    first_state = (-0.05, 0.05)
    single: CartPole

    def _prepare(self) -> None:
        self._state = np.zeros((4, self.num_envs))
        self._ones = np.ones(self.num_envs)
        self._force = np.array([-self.single.force_mag, self.single.force_mag])
        bounds = self.single.x_threshold, self.single.theta_threshold_radians
        self._threshold = np.array(bounds)[:, None]

    def _draw(self, rng: np.random.Generator, low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, 4)

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """CartPoleEnv.step, in the same order of operations, so that every bit is the same."""
        if self.num_envs <= FEW:
            return self._advance_each(actions)
        x, x_dot, theta, theta_dot = self._state
        seen = np.cos(theta), np.sin(theta)
        self._state[...] = self._moved(self._force[actions], x, x_dot, theta, theta_dot, *seen)
        out = np.abs(self._state[::2]) > self._threshold
        terminated = out[0] | out[1]
        return self._reward(terminated), terminated

    def _advance_each(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same one by one: for few copies NumPy's calls take longer than what they do."""
        theta = self._state[2]
        given = (*self._state.tolist(), np.cos(theta).tolist(), np.sin(theta).tolist())
        moved = [*map(self._moved, self._force[actions].tolist(), *given)]
        self._state.T[...] = moved
        world = self.single
        limit_x, limit_theta = world.x_threshold, world.theta_threshold_radians
        out = [abs(x) > limit_x or abs(theta) > limit_theta for x, _, theta, _ in moved]
        terminated = np.array(out)
        return self._reward(terminated), terminated

    def _moved(
        self,
        force: Numbers,
        x: Numbers,
        x_dot: Numbers,
        theta: Numbers,
        theta_dot: Numbers,
        cos: Numbers,
        sin: Numbers,
    ) -> tuple[Numbers, Numbers, Numbers, Numbers]:
        """The state after a step, of one copy in plain numbers or of all in arrays."""
        world = self.single
        temp = (force + world.polemass_length * (theta_dot * theta_dot) * sin) / world.total_mass
        theta_acc = (world.gravity * sin - cos * temp) / (
            world.length * (4.0 / 3.0 - world.masspole * (cos * cos) / world.total_mass)
        )
        x_acc = temp - world.polemass_length * theta_acc * cos / world.total_mass
        tau = world.tau
        return (
            x + tau * x_dot,
            x_dot + tau * x_acc,
            theta + tau * theta_dot,
            theta_dot + tau * theta_acc,
        )

    def _reward(self, terminated: np.ndarray) -> np.ndarray:
        if self.single._sutton_barto_reward:
            return np.where(terminated, -1.0, 0.0)
        return self._ones.copy()  # sooner than np.ones
