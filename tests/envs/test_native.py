"""Native environments do, bit by bit, what Gymnasium's single ones do."""

from collections.abc import Callable

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.classic_control import AcrobotEnv, CartPoleEnv, MountainCarEnv, acrobot
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from envs.native import NATIVE, Acrobot, CartPole, MountainCar, MountainCarVector
from envs.native.acrobot import _wrap
from envs.native.cartpole import FEW

CARTPOLE, ACROBOT, CAR = "retain/CartPole-v1", "retain/Acrobot-v1", "retain/MountainCar-v0"
WORLDS = {
    "CartPole": (CARTPOLE, {}),
    "CartPole on the Moon": (CARTPOLE, {"gravity": 1.6, "masspole": 0.3, "length": 0.9}),
    "CartPole, another reward": (CARTPOLE, {"sutton_barto_reward": True, "force_mag": -5}),
    "Acrobot": (ACROBOT, {}),
    "Acrobot, noisy": (ACROBOT, {"torque_noise_max": 0.5, "link_mass_2": 0.7, "torque": 2.0}),
    "MountainCar": (CAR, {}),
    "MountainCar, fast at the goal": (CAR, {"goal_velocity": 0.03, "force": 0.002}),
}
worlds = pytest.mark.parametrize(("env_id", "physics"), WORLDS.values(), ids=WORLDS.keys())
Outcome = tuple[np.ndarray, ...]


def native(env_id: str, num_envs: int, mode: str = "DISABLED", **kwargs: object) -> VectorEnv:
    return gym.make_vec(
        env_id,
        num_envs,
        vectorization_mode="vector_entry_point",
        autoreset_mode=AutoresetMode[mode],
        **kwargs,
    )


def one_by_one(env_id: str, num_envs: int, mode: str = "DISABLED", **kwargs: object) -> VectorEnv:
    makers = [lambda: gym.make(env_id, disable_env_checker=True, **kwargs)] * num_envs
    return SyncVectorEnv(makers, autoreset_mode=AutoresetMode[mode])


def assert_same_bits(mine: Outcome, other: Outcome) -> None:
    for a, b in zip(mine[:-1], other[:-1], strict=True):  # but for the infos
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def actions(env_id: str, obs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Good ones, and often any: all ends of episodes are met."""
    last = 1 if env_id == CARTPOLE else 2
    wanted = {CARTPOLE: obs[:, 2:].sum(1), ACROBOT: obs[:, -1], CAR: obs[:, 1]}[env_id] > 0
    anything = rng.integers(last + 1, size=len(obs))
    often = 0.7 if env_id == CARTPOLE else 0.2
    return np.where(rng.random(len(obs)) < often, anything, last * wanted)


@worlds
@pytest.mark.parametrize("mode", ["DISABLED", "NEXT_STEP"])
@pytest.mark.parametrize("copies", [3, FEW + 1])
def test_every_step_is_that_of_gymnasiums_single_environments(env_id, physics, mode, copies):
    rng = np.random.default_rng(0)
    mine, other = (make(env_id, copies, mode, **physics) for make in (native, one_by_one))
    seeds = rng.integers(2**32, size=copies).tolist()
    now = mine.reset(seed=seeds)
    assert_same_bits(now, other.reset(seed=seeds))
    episodes = 0
    for _ in range(700):
        action = actions(env_id, now[0], rng)
        now = mine.step(action)
        assert_same_bits(now, other.step(action))
        ended = now[2] | now[3]
        episodes += ended.sum()
        if mode == "DISABLED" and ended.any():
            seeds = [int(rng.integers(2**32)) if end else None for end in ended]
            now, then = (
                env.reset(seed=seeds, options={"reset_mask": ended}) for env in (mine, other)
            )
            assert_same_bits(now, then)
    assert episodes >= 9


@pytest.mark.parametrize("copies", [3, FEW + 1])
@pytest.mark.parametrize("given", [1, [1], [0, 1, 1, 0], [[1], [1], [1]]])
def test_another_number_of_actions_than_copies_is_refused(given, copies):
    envs = native(CARTPOLE, copies)
    before, _ = envs.reset(seed=0)
    with pytest.raises(ValueError, match=f"expected {copies} actions, given shape"):
        envs.step(np.array(given))
    assert np.array_equal(envs._obs, before)


def test_without_a_limit_an_episode_is_never_truncated():
    envs = MountainCarVector(1, max_episode_steps=None, autoreset_mode="Disabled")
    envs.reset(seed=0)
    assert not any(envs.step(np.array([1]))[3].any() for _ in range(1_000))


@worlds
def test_a_copy_does_the_same_alone_and_anywhere_among_others(env_id, physics):
    rng = np.random.default_rng(1)
    sequence = rng.integers(2, size=(60, 33))
    together = native(env_id, 33, "NEXT_STEP", **physics)
    alone = {copy: native(env_id, 1, "NEXT_STEP", **physics) for copy in (0, 6, 17, 32)}
    together.reset(seed=100)
    for copy, env in alone.items():
        env.reset(seed=100 + copy)
    for action in sequence:
        all_of_it = together.step(action)
        for copy, env in alone.items():
            own = tuple(each[copy : copy + 1] for each in all_of_it[:-1])
            assert_same_bits((*own, {}), env.step(action[copy : copy + 1]))


def changed(env: gym.Env, **attributes: object) -> gym.Env:
    for name, value in attributes.items():
        assert hasattr(env, name)
        setattr(env, name, value)
    return env


PHYSICS = {
    "CartPole": (
        CartPole(gravity=1.6, masscart=2, masspole=0.5, length=0.7, force_mag=-4, tau=0.03),
        changed(
            CartPoleEnv(),
            **{"gravity": 1.6, "masscart": 2.0, "masspole": 0.5, "total_mass": 2.5, "tau": 0.03},
            **{"length": 0.7, "polemass_length": 0.35, "force_mag": -4.0},
        ),
    ),
    "Acrobot": (
        Acrobot(0.8, 0.9, 1.1, 1.2, 0.3, 0.4, 0.9, torque=1.5, torque_noise_max=0.2, dt=0.1),
        changed(
            AcrobotEnv(),
            **{"LINK_LENGTH_1": 0.8, "LINK_LENGTH_2": 0.9, "LINK_MASS_1": 1.1, "LINK_MASS_2": 1.2},
            **{"LINK_COM_POS_1": 0.3, "LINK_COM_POS_2": 0.4, "LINK_MOI": 0.9, "dt": 0.1},
            **{"AVAIL_TORQUE": [-1.5, 0.0, 1.5], "torque_noise_max": 0.2},
        ),
    ),
    "MountainCar": (
        MountainCar(goal_velocity=0.01, gravity=0.002, force=-0.003),
        changed(MountainCarEnv(), goal_velocity=0.01, gravity=0.002, force=-0.003),
    ),
}


@pytest.mark.parametrize(("mine", "other"), PHYSICS.values(), ids=PHYSICS.keys())
def test_a_parameter_is_gymnasiums_attribute(mine, other):
    plain = type(other)()
    first = [env.reset(seed=3)[0] for env in (mine, other, plain)]
    assert np.array_equal(first[0], first[1])
    for action in (1, 0, 1, 1, 0):
        shown = [env.step(action)[0] for env in (mine, other, plain)]
        assert np.array_equal(shown[0], shown[1])
    assert not np.array_equal(shown[1], shown[2])


@pytest.mark.parametrize("env_id", NATIVE)
def test_without_parameters_it_is_gymnasiums_environment(env_id):
    spec = gym.spec(NATIVE[env_id])
    if env_id != "CartPole-v0":  # of another length
        assert spec.max_episode_steps == gym.spec(env_id).max_episode_steps
        assert spec.reward_threshold == gym.spec(env_id).reward_threshold
    mine, other = (gym.make(each, disable_env_checker=True) for each in (NATIVE[env_id], env_id))
    assert mine.observation_space == other.observation_space
    assert mine.action_space == other.action_space
    assert np.array_equal(mine.reset(seed=8)[0], other.reset(seed=8)[0])
    for _ in range(8):
        assert np.array_equal(mine.step(0)[0], other.step(0)[0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("env_id", sorted({*NATIVE.values(), "retain/CartPoleReversed-v1"}))
def test_a_single_one_passes_gymnasiums_checks(env_id):
    check_env(gym.make(env_id).unwrapped, skip_render_check=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CartPole(masscart=0), "masscart must be above 0, got 0"),
        (lambda: CartPole(masspole=-0.1), "masspole must be above 0, got -0.1"),
        (lambda: CartPole(length=float("inf")), "length must be a finite number, got inf"),
        (lambda: CartPole(tau=float("nan")), "tau must be a finite number, got nan"),
        (lambda: CartPole(gravity="9.8"), "gravity must be a finite number, got '9.8'"),
        (lambda: CartPole(gravity=True), "gravity must be a finite number, got True"),
        (lambda: CartPole(force_mag=0), "force_mag must not be zero"),
        (lambda: Acrobot(link_moi=0), "link_moi must be above 0 and at most 1000, got 0"),
        (lambda: Acrobot(dt=1e6), "dt must be above 0 and at most 1000, got 1000000.0"),
        (lambda: Acrobot(torque=0.0), "torque must not be zero"),
        (lambda: Acrobot(torque_noise_max=-1), "torque_noise_max must be above 0"),
        (lambda: MountainCar(goal_velocity=0.08), "goal_velocity must be at most 0.07, the car's"),
        (lambda: MountainCar(force=0), "force must not be zero"),
        (lambda: gym.make(CARTPOLE, length=-1), "length must be above 0, got -1"),
        (lambda: native(ACROBOT, 2, dt=0), "dt must be above 0 and at most 1000, got 0"),
        (lambda: native(CARTPOLE, 0), "num_envs must be at least 1, got 0"),
        (lambda: native(CARTPOLE, 2, "SAME_STEP"), "must be NEXT_STEP or DISABLED"),
        (lambda: native(CARTPOLE, 2).reset(seed=[1]), "there must be 2 seeds, got 1"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make: Callable[[], object], message: str):
    with pytest.raises(ValueError, match=r"^.*\Z") as refused:
        make()
    assert message in str(refused.value)


@pytest.mark.parametrize("mask", [[True], [False, False], [1, 1], [[True, True]]])
def test_a_mask_that_fits_no_copies_is_refused(mask):
    with pytest.raises(ValueError, match="reset_mask must be 2 booleans, one of them True"):
        native(CARTPOLE, 2).reset(options={"reset_mask": np.array(mask)})


def test_an_episode_begins_within_the_bounds_given():
    mine, other = (make(CARTPOLE, 4) for make in (native, one_by_one))
    options = {"low": -0.2, "high": -0.1}
    shown = mine.reset(seed=5, options=options)
    assert_same_bits(shown, other.reset(seed=5, options=dict(options)))
    assert (shown[0] < -0.1).all()
    with pytest.raises(ValueError, match="must be lower than higher bound"):
        mine.reset(options={"low": 1, "high": 0})


def test_without_seeds_the_copies_generators_go_on():
    mine, other = (make(CAR, 3) for make in (native, one_by_one))
    for seed in (7, None, [1, None, 2], None):
        assert_same_bits(mine.reset(seed=seed), other.reset(seed=seed))


def test_an_ended_copy_must_be_reset_before_it_steps():
    env = native(CARTPOLE, 2, max_episode_steps=3)
    with pytest.raises(gym.error.ResetNeeded, match=r"reset the copies \[0, 1\] first"):
        env.step(np.zeros(2, int))
    env.reset(seed=0)
    for _ in range(2):
        env.step(np.zeros(2, int))
    env.reset(options={"reset_mask": np.array([True, False])})
    *_, terminated, truncated, _ = env.step(np.zeros(2, int))
    assert terminated.tolist() == [False, False]
    assert truncated.tolist() == [False, True]
    with pytest.raises(gym.error.ResetNeeded, match=r"reset the copies \[1\] first"):
        env.step(np.zeros(2, int))


def test_an_action_that_there_is_not_is_refused_and_nothing_has_moved():
    mine, other = (native(ACROBOT, 2) for _ in range(2))
    for env in (mine, other):
        env.reset(seed=0)
    with pytest.raises(IndexError):
        mine.step(np.array([0, 3]))
    assert_same_bits(mine.step(np.array([0, 2])), other.step(np.array([0, 2])))


def test_arrays_given_out_stay_as_they_were():
    env = native(CARTPOLE, 3, "NEXT_STEP", max_episode_steps=4)
    given = [env.reset(seed=0)[0]]
    given += [each for _ in range(12) for each in env.step(np.zeros(3, int))[:-1]]
    env.reset(seed=1, options={"reset_mask": np.array([False, True, False])})
    again = native(CARTPOLE, 3, "NEXT_STEP", max_episode_steps=4)
    assert given[0].tobytes() == again.reset(seed=0)[0].tobytes()
    for step in range(12):
        for kept, new in zip(
            given[1 + 4 * step :], again.step(np.zeros(3, int))[:-1], strict=False
        ):
            assert kept.tobytes() == new.tobytes()


def test_an_angle_is_wrapped_as_often_as_gymnasium_does():
    angles = np.array([0.0, np.pi, -np.pi, 3.2, -3.2, 9.5, -50.0, 1234.5, np.nan])
    expected = [acrobot.wrap(angle, -np.pi, np.pi) for angle in angles]
    assert np.array_equal(_wrap(angles), expected, equal_nan=True)


def test_what_balances_cartpole_drops_the_reversed_one_which_can_be_balanced():
    def mean_return(env_id: str, weights: np.ndarray) -> float:
        env = native(env_id, 20, "NEXT_STEP")
        obs, total, active = env.reset(seed=0)[0], np.zeros(20), np.ones(20, bool)
        while active.any():
            obs, reward, terminated, truncated, _ = env.step((obs @ weights > 0).astype(int))
            total += reward * active
            active &= ~(terminated | truncated)
        return total.mean()

    balances, other = np.array([0.05, 0.15, 1.0, 0.3]), np.array([-0.18, -0.22, -2.85, -1.12])
    assert mean_return(CARTPOLE, balances) > 495
    assert mean_return("retain/CartPoleReversed-v1", balances) < 30
    assert mean_return("retain/CartPoleReversed-v1", -balances) < 300  # other physics, too
    assert mean_return("retain/CartPoleReversed-v1", other) > 495
