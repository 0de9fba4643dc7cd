"""What steps many copies: each backend plays the same episodes, and no step is lost or doubled."""

import multiprocessing

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec, WrapperSpec
from gymnasium.vector import SyncVectorEnv

from envs import SharedSpace, Task, TaskEnvs, Vectorization, find_task
from envs.backends import native_kind
from envs.native import CartPoleVector, NativeVectorEnv
from envs.workers import WorkerEnvs

SEED = 1_001  # of a copy's first episode; the next ones count upwards
OURS = EnvSpec(
    "test/Moon-v0",
    entry_point="envs.native.cartpole:CartPole",
    vector_entry_point="envs.native.cartpole:CartPoleVector",
    max_episode_steps=30,
    kwargs={"gravity": 1.6},
)


def make(task: Task, vectorization: Vectorization, num_envs: int = 3) -> TaskEnvs:
    space = SharedSpace.of([task])
    return TaskEnvs(
        task, space, lambda e, k: SEED * (e + 1) + k, num_envs, vectorization=vectorization
    )


@pytest.fixture
def moon(monkeypatch):
    """A task of somebody else's id that is registered with a vector environment of ours."""
    monkeypatch.setitem(gym.registry, OURS.id, OURS)
    return find_task(OURS.id)


@pytest.fixture
def opened():
    """Environments that are closed whatever happens."""
    envs: list[TaskEnvs] = []

    def open_(*arguments) -> TaskEnvs:
        envs.append(make(*arguments))
        return envs[-1]

    yield open_
    for each in envs:
        each.close()


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("CartPole", "native"),
        ("CartPole-v0", "native"),
        ("Acrobot", "native"),
        ("MountainCar", "native"),
        ("retain/CartPole", "native"),
        ("retain/CartPoleReversed", "native"),
        ("LunarLander", "sync"),
        ("retain/Recall", "sync"),
        ("phys2d/CartPole", "sync"),  # Gymnasium's own vector environments reset themselves
    ],
)
def test_auto_is_native_where_there_is_such(name, backend):
    assert find_task(name).backend(8, "auto") == backend


@pytest.mark.parametrize(
    ("name", "fewest"), [("CartPole-v0", 1), ("Acrobot", 3), ("MountainCar", 1)]
)
def test_auto_is_native_from_as_many_copies_as_that_pays_for(name, fewest):
    found = [find_task(name).backend(copies) for copies in (1, 2, 3)]
    assert found == ["native" if copies >= fewest else "sync" for copies in (1, 2, 3)]


def test_auto_makes_what_it_says_for_a_single_copy(opened):
    envs = opened(find_task("Acrobot"), "auto", 1)
    assert envs.backend == "sync"
    assert isinstance(envs._envs, SyncVectorEnv)


def test_auto_is_native_for_any_id_registered_with_a_native_vector_environment(moon, opened):
    assert moon.backend(3) == "native"
    envs = opened(moon, "auto")
    assert isinstance(envs._envs, CartPoleVector)
    assert envs._envs.single.gravity == 1.6
    assert [bool(envs.step(np.arange(3) % 2)[3].any()) for _ in range(9)] == [False] * 9


def test_an_environment_with_wrappers_of_its_own_is_not_native(moon, monkeypatch):
    wrapper = WrapperSpec("Wrapper", "gymnasium:Wrapper", {})
    monkeypatch.setattr(OURS, "additional_wrappers", (wrapper,))
    assert native_kind(OURS.id) is None


@pytest.mark.parametrize(
    ("vectorization", "kind"),
    [("native", NativeVectorEnv), ("sync", SyncVectorEnv), ("async", WorkerEnvs)],
)
def test_a_backend_is_what_its_name_says(vectorization, kind, opened):
    envs = opened(find_task("CartPole"), vectorization, 2)
    assert envs.backend == vectorization
    assert isinstance(envs._envs, kind)


def test_native_is_refused_where_there_is_no_such():
    with pytest.raises(ValueError, match=r"^LunarLander-v3 has no native vectorization; .*\Z"):
        find_task("LunarLander").backend(1, "native")


@pytest.mark.parametrize("name", ["CartPole-v0", "CartPole", "Acrobot", "MountainCar"])
def test_a_native_episode_ends_with_the_time_limit_of_its_id(name, opened):
    task = find_task(name)
    limits = opened(task, "native")._envs._limit.tolist()
    assert set(limits) == {gym.spec(task.env_id).max_episode_steps}


TASKS = {
    "CartPole": find_task("CartPole"),
    "MountainCar": find_task("MountainCar"),
    "Moon": Task("Moon", "retain/CartPole-v1", kwargs={"gravity": 1.6, "force_mag": 3.0}),
    "clock": Task("clock", "test/Clock-v0", kwargs={"ends": 5, "spread": 4, "start": 2}),
}
# One of workers only: they are the same code for all environments.
BACKENDS = [("native", "CartPole"), ("native", "MountainCar"), ("native", "Moon")]
BACKENDS += [("sync", "clock"), ("async", "CartPole"), ("async", "clock")]
backends = pytest.mark.parametrize(("vectorization", "name"), BACKENDS)


@backends
def test_every_step_is_that_of_the_sync_backend(vectorization, name, opened):
    rng = np.random.default_rng(0)
    mine, other = (opened(TASKS[name], each) for each in (vectorization, "sync"))
    for _ in range(230):
        action = rng.integers(mine.space.num_actions, size=3)
        assert mine.obs.tobytes() == other.obs.tobytes()
        for a, b in zip(mine.step(action), other.step(action), strict=True):
            assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


@pytest.fixture
def spawning():
    """Processes start as on macOS: with nothing of what this one has imported."""
    multiprocessing.set_start_method("spawn", force=True)
    yield
    multiprocessing.set_start_method(None, force=True)


@pytest.mark.usefixtures("spawning")
def test_a_worker_may_be_started_without_what_this_process_has_imported(opened):
    mine, other = (opened(TASKS["clock"], each, 1) for each in ("async", "sync"))
    for _ in range(20):
        shown = [envs.step(np.ones(1, int))[0] for envs in (mine, other)]
        assert np.array_equal(*shown)


def played_again(task: Task, seed: int, rows: list[tuple]) -> None:
    """The rows are an episode as one single environment plays it with their actions."""
    env, space = task.make_env(), SharedSpace.of([task])
    shown = space.encode_one(0, env.reset(seed=seed)[0])
    for number, (obs, action, next_obs, reward, terminated, truncated) in enumerate(rows, 1):
        assert np.array_equal(obs, shown)
        raw, pay, over, cut, _ = env.step(int(action + space.first_action[0]))
        shown = space.encode_one(0, raw)
        assert np.array_equal(next_obs, shown)
        assert (reward, terminated, truncated) == (np.float32(pay), over, cut and not over)
        assert number == len(rows) or not (over or cut)


@backends
def test_its_rows_are_whole_episodes_one_after_the_other(vectorization, name, opened):
    task, rng = TASKS[name], np.random.default_rng(1)
    envs = opened(task, vectorization)
    episodes: list[list[list[tuple]]] = [[[]] for _ in range(3)]
    for _ in range(230):
        obs, action = envs.obs.copy(), rng.integers(envs.space.num_actions, size=3)
        columns = (obs, action, *envs.step(action))
        for copy, row in enumerate(zip(*columns, strict=True)):
            episodes[copy][-1].append(row)
            if row[4] or row[5]:
                episodes[copy].append([])
    for copy, of_copy in enumerate(episodes):
        assert sum(map(len, of_copy)) == 230
        assert len(of_copy) >= 2
        for number, rows in enumerate(of_copy):
            played_again(task, SEED * (copy + 1) + number, rows)


@backends
def test_it_is_restored_exactly_also_by_another_backend(vectorization, name, opened):
    rng = np.random.default_rng(2)
    task = TASKS[name]
    original = opened(task, vectorization)
    for _ in range(97):
        original.step(rng.integers(original.space.num_actions, size=3))
    state = original.state_dict()
    assert len(set(state["length"].tolist())) > 1 or name == "MountainCar"
    restored = [opened(task, each) for each in (vectorization, "sync")]
    for envs in restored:
        envs.load_state_dict(state)
    for _ in range(40):
        action = rng.integers(original.space.num_actions, size=3)
        steps = [envs.step(action) for envs in (original, *restored)]
        for first, *others in zip(*steps, strict=True):
            assert all(first.tobytes() == each.tobytes() for each in others)
    assert all(np.array_equal(original.obs, envs.obs) for envs in restored)


def test_noise_of_the_native_acrobot_is_restored_too(opened):
    task = Task("noisy", "retain/Acrobot-v1", kwargs={"torque_noise_max": 1.0})
    original, restored = (opened(task, "native") for _ in range(2))
    for _ in range(30):
        original.step(np.array([0, 1, 2]))
    restored.load_state_dict(original.state_dict())
    for _ in range(5):
        shown = [envs.step(np.zeros(3, int))[0] for envs in (original, restored)]
        assert np.array_equal(*shown)


def test_copies_of_very_different_ages_are_restored(opened):
    task = Task("clock", "test/Clock-v0", kwargs={"ends": 3, "spread": 7})
    original, restored = (opened(task, "sync", 6) for _ in range(2))
    for step in range(50):
        original.step(np.full(6, step % 3))
        restored.load_state_dict(original.state_dict())
        assert np.array_equal(restored.obs, original.obs)
    after = [envs.step(np.arange(6) % 3) for envs in (original, restored)]
    assert all(np.array_equal(a, b) for a, b in zip(*after, strict=True))
