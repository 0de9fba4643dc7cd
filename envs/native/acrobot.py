"""Acrobot with its physics as keywords: one environment, and many stepped together."""

import numpy as np
from gymnasium.envs.classic_control.acrobot import AcrobotEnv
from numpy import pi

from envs.native.base import NativeVectorEnv, bounded
from envs.native.physics import finite, nonzero, positive

GRAVITY = 9.8  # a constant inside AcrobotEnv._dsdt
LARGEST = 1_000.0  # far beyond it a step turns the links more often than angles can be unwound


class Acrobot(AcrobotEnv):
    """Gymnasium's Acrobot (Sutton 1996; the equations of Sutton and Barto's book).

    The height to be reached is that of links of length 1, whatever the lengths, as in Gymnasium.

    Args:
        link_length_1: Length of the upper link [m].
        link_length_2: Length of the lower link [m]; it is only drawn, `link_com_pos_2` acts.
        link_mass_1: Mass of the upper link [kg].
        link_mass_2: Mass of the lower link [kg].
        link_com_pos_1: Where along the upper link its centre of mass is [m].
        link_com_pos_2: The same of the lower link [m].
        link_moi: Moment of inertia of each link [kg m^2].
        torque: Torque of action 2; action 0 has the opposite, 1 none [N m]. Negative: reversed.
        torque_noise_max: Every torque is changed by uniform noise of at most this size [N m].
        dt: Time of a step [s].
        render_mode: As Gymnasium's.

    Raises:
        ValueError: A parameter that is zero, not finite, above 1,000 or, but for the torque,
            negative; there may be no noise.
    """

    def __init__(
        self,
        link_length_1: float = 1.0,
        link_length_2: float = 1.0,
        link_mass_1: float = 1.0,
        link_mass_2: float = 1.0,
        link_com_pos_1: float = 0.5,
        link_com_pos_2: float = 0.5,
        link_moi: float = 1.0,
        torque: float = 1.0,
        torque_noise_max: float = 0.0,
        dt: float = 0.2,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode)
        self.LINK_LENGTH_1 = positive("link_length_1", link_length_1, LARGEST)
        self.LINK_LENGTH_2 = positive("link_length_2", link_length_2, LARGEST)
        self.LINK_MASS_1 = positive("link_mass_1", link_mass_1, LARGEST)
        self.LINK_MASS_2 = positive("link_mass_2", link_mass_2, LARGEST)
        self.LINK_COM_POS_1 = positive("link_com_pos_1", link_com_pos_1, LARGEST)
        self.LINK_COM_POS_2 = positive("link_com_pos_2", link_com_pos_2, LARGEST)
        self.LINK_MOI = positive("link_moi", link_moi, LARGEST)
        self.dt = positive("dt", dt, LARGEST)
        positive("torque", abs(nonzero("torque", torque)), LARGEST)
        self.AVAIL_TORQUE = [-float(torque), 0.0, float(torque)]
        if finite("torque_noise_max", torque_noise_max) != 0:
            positive("torque_noise_max", torque_noise_max, LARGEST)
        self.torque_noise_max = float(torque_noise_max)


class AcrobotVector(NativeVectorEnv):
    """Many `Acrobot`, stepped together; `physics` are what it takes."""

    world = Acrobot
    pays_from = 3
    first_state = (-0.1, 0.1)
    single: Acrobot

    def _prepare(self) -> None:
        self._state = np.zeros((4, self.num_envs))
        self._torque = np.array(self.single.AVAIL_TORQUE)
        self._fastest = np.array([[self.single.MAX_VEL_1], [self.single.MAX_VEL_2]])

    def _draw(self, rng: np.random.Generator, low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, 4).astype(np.float32)  # AcrobotEnv rounds first states

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        torque = self._torque[actions]
        if self.single.torque_noise_max > 0:
            torque = torque + self._noise()
        self._state = self._runge_kutta(torque)
        self._state[:2] = _wrap(self._state[:2])
        self._state[2:] = bounded(self._state[2:], -self._fastest, self._fastest)
        theta1, theta2 = self._state[:2]
        terminated = -np.cos(theta1) - np.cos(theta2 + theta1) > 1.0
        return terminated - 1.0, terminated

    def _show(self, state: np.ndarray) -> np.ndarray:
        obs = np.empty((state.shape[1], 6), np.float32)
        obs[:, 0:3:2] = np.cos(state[:2]).T
        obs[:, 1:4:2] = np.sin(state[:2]).T
        obs[:, 4:] = state[2:].T
        return obs

    def _noise(self) -> np.ndarray:
        """Of each copy's own generator; a copy that is only reset in this step draws none."""
        most = self.single.torque_noise_max
        pairs = zip(self._rngs, self._ended, strict=True)
        return np.array([0.0 if ended else rng.uniform(-most, most) for rng, ended in pairs])

    def _runge_kutta(self, torque: np.ndarray) -> np.ndarray:
        """One step of order four, in the order of operations of Gymnasium's `rk4`."""
        state, dt = self._state, self.single.dt
        k1 = self._change(state, torque)
        k2 = self._change(state + dt / 2.0 * k1, torque)
        k3 = self._change(state + dt / 2.0 * k2, torque)
        k4 = self._change(state + dt * k3, torque)
        return state + dt / 6.0 * (k1 + 2 * k2 + 2 * k3 + k4)

    def _change(self, state: np.ndarray, torque: np.ndarray) -> np.ndarray:
        """AcrobotEnv._dsdt, in the same order of operations, so that every bit is the same.

        There squares are powers of NumPy scalars, which round otherwise than products of arrays
        in one case of a thousand; `float_power` rounds as scalars do.
        """
        world, g = self.single, GRAVITY
        m1, m2, l1 = world.LINK_MASS_1, world.LINK_MASS_2, world.LINK_LENGTH_1
        lc1, lc2, moi = world.LINK_COM_POS_1, world.LINK_COM_POS_2, world.LINK_MOI
        theta1, theta2, dtheta1, dtheta2 = state
        square1, square2 = np.float_power(state[2:], 2)
        cos2, sin2 = np.cos(theta2), np.sin(theta2)
        d1 = m1 * lc1**2 + m2 * (l1**2 + lc2**2 + 2 * l1 * lc2 * cos2) + moi + moi
        d2 = m2 * (lc2**2 + l1 * lc2 * cos2) + moi
        phi2 = m2 * lc2 * g * np.cos(theta1 + theta2 - pi / 2.0)
        phi1 = (
            -m2 * l1 * lc2 * square2 * sin2
            - 2 * m2 * l1 * lc2 * dtheta2 * dtheta1 * sin2
            + (m1 * lc1 + m2 * l1) * g * np.cos(theta1 - pi / 2)
            + phi2
        )
        change = np.empty_like(state)
        change[:2] = state[2:]
        change[3] = (torque + d2 / d1 * phi1 - m2 * l1 * lc2 * square1 * sin2 - phi2) / (
            m2 * lc2**2 + moi - np.float_power(d2, 2) / d1
        )
        change[2] = -(d2 * change[3] + phi1) / d1
        return change


def _wrap(angle: np.ndarray) -> np.ndarray:
    """The same angles between -pi and pi."""
    if (np.abs(angle) <= pi).all():
        return angle
    while (over := angle > pi).any():
        angle = np.where(over, angle - 2 * pi, angle)
    while (under := angle < -pi).any():
        angle = np.where(under, angle + 2 * pi, angle)
    return angle
