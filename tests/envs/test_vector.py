"""Episodes of many copies of a task: seeded one by one, never mixed up, restored exactly."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from gymnasium import spaces

from envs import NonFiniteData, SharedSpace, Task, TaskEnvs, find_task

SEED, STEP, LAST = range(3)  # what test/Clock shows


def clock(name: str = "test/Clock", **kwargs: object) -> Task:
    return Task("clock", f"{name}-v0", kwargs=kwargs)


def make(task: Task, num_envs: int = 2, seed: Callable[[int, int], int] | None = None) -> TaskEnvs:
    """Environment e starts its episode k with the seed 100 e + k, if no other is wanted."""
    return TaskEnvs(task, SharedSpace.of([task]), seed or (lambda e, k: 100 * e + k), num_envs)


def assert_same_state(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert np.array_equal(a[name], b[name]), name


def test_no_row_is_a_reset_and_every_final_observation_is_the_true_one():
    envs = make(clock(ends=3, spread=4), num_envs=5, seed=lambda e, k: 10 * e + k)
    ends = 0
    for _ in range(40):
        before = envs.obs.copy()
        after, reward, terminated, truncated = envs.step(np.ones(5, int))
        assert np.array_equal(after[:, SEED], before[:, SEED])
        assert np.array_equal(after[:, STEP], before[:, STEP] + 1)
        assert np.array_equal(reward, 0.5 * after[:, STEP])
        assert np.array_equal(terminated, after[:, STEP] == 3 + after[:, SEED] % 4)
        assert not truncated.any()
        ends += terminated.sum()
        assert np.array_equal(envs.obs[:, STEP], np.where(terminated, 0, after[:, STEP]))
    assert ends > 25


def test_the_last_observation_of_a_truncated_episode_is_returned_and_the_next_one_is_fresh():
    envs = make(clock("test/ClockLimited"))
    for step in range(1, 13):
        after, _, terminated, truncated = envs.step(np.array([0, 2]))
        assert not terminated.any()
        assert truncated.tolist() == [step % 5 == 0] * 2
        assert after[:, STEP].tolist() == [(step - 1) % 5 + 1] * 2
        assert after[:, LAST].tolist() == [0, 2]
        assert envs.obs[:, STEP].tolist() == [step % 5] * 2


def test_a_step_that_both_terminates_and_truncates_counts_as_terminated():
    envs = make(clock("test/ClockLimited", ends=4, spread=2))  # even seeds end after 4, odd after 5
    ends = []
    for _ in range(9):
        after, _, terminated, truncated = envs.step(np.array([0, 0]))
        assert not truncated.any()
        ends.append((int(after[0, STEP]), bool(terminated[0])))
    assert [step for step, ended in ends if ended] == [4, 5]


def test_every_episode_has_the_seed_that_the_function_gives():
    asked = []

    def seed(env: int, episode: int) -> int:
        asked.append((env, episode))
        return 1_000 * env + 7 * episode

    envs = make(clock(ends=2), num_envs=2, seed=seed)
    shown = [envs.obs[:, SEED].tolist()]
    for _ in range(6):
        envs.step(np.zeros(2, int))
        shown.append(envs.obs[:, SEED].tolist())
    assert shown == [[0, 1000]] * 2 + [[7, 1007]] * 2 + [[14, 1014]] * 2 + [[21, 1021]]
    assert asked == [(env, episode) for episode in range(4) for env in range(2)]


def test_only_the_copies_whose_episode_ended_begin_another_one():
    envs = make(clock(ends=2, spread=3), num_envs=3, seed=lambda e, k: e + 3 * k)
    for _ in range(2):
        envs.step(np.zeros(3, int))
    assert envs.obs[:, SEED].tolist() == [3, 1, 2]
    assert envs.obs[:, STEP].tolist() == [0, 2, 2]


def test_an_action_is_counted_from_the_tasks_first_one():
    tasks = [clock(), clock(start=4)]
    envs = TaskEnvs(tasks[1], SharedSpace.of(tasks), lambda e, k: e, 3, task_index=1)
    after, *_ = envs.step(np.array([0, 1, 2]))
    assert after[:, LAST].tolist() == [4, 5, 6]


def test_observations_are_those_of_the_shared_space(shows):
    tasks = [find_task("Acrobot"), shows(spaces.Discrete(3))]
    envs = TaskEnvs(tasks[1], SharedSpace.of(tasks), lambda e, k: e, 2, task_index=1)
    after, *_ = envs.step(np.zeros(2, int))
    for obs in (envs.obs, after):
        assert obs.shape == (2, 6)
        assert obs.sum(1).tolist() == [1, 1]
        assert not obs[:, 3:].any()


def test_rows_given_out_stay_as_they_were():
    envs = make(clock("test/ClockLimited"))
    rows = [envs.step(np.zeros(2, int)) for _ in range(7)]
    steps = [(float(after[0, STEP]), float(reward[0])) for after, reward, *_ in rows]
    assert steps == [(s, 0.5 * s) for s in (1, 2, 3, 4, 5, 1, 2)]
    assert [bool(truncated[0]) for *_, truncated in rows] == [False] * 4 + [True] + [False] * 2


RESTORED = {
    "CartPole": find_task("CartPole"),
    "Acrobot": find_task("Acrobot"),
    "MountainCar": find_task("MountainCar"),
    "LunarLander": find_task("LunarLander"),  # pickling it loses its state without a word
    "FrozenLake": find_task("FrozenLake"),
    "Recall": find_task("retain/Recall"),
    "actions from 4": clock(start=4, ends=30),
}


@pytest.mark.parametrize("task", RESTORED.values(), ids=RESTORED.keys())
def test_restored_environments_go_on_bit_by_bit(task):
    rng = np.random.default_rng(0)
    original = make(task, num_envs=3)
    actions = rng.integers(original.space.num_actions, size=(195, 3))
    ends = 0
    for action in actions[:145]:
        *_, terminated, truncated = original.step(action)
        ends += int((terminated | truncated).sum())
    state = original.state_dict()
    assert (state["length"] > 0).any()
    restored = make(task, num_envs=3)
    restored.load_state_dict(state)
    assert_same_state(restored.state_dict(), state)
    for action in actions[145:]:
        for a, b in zip(original.step(action), restored.step(action), strict=True):
            assert a.tobytes() == b.tobytes()
        assert original.obs.tobytes() == restored.obs.tobytes()
    assert_same_state(restored.state_dict(), original.state_dict())
    if task.name not in ("Acrobot", "MountainCar"):
        assert ends > 0  # some episodes were not the first of their copy


def test_environments_that_have_not_moved_can_be_restored():
    state = make(find_task("CartPole")).state_dict()
    restored = make(find_task("CartPole"))
    restored.step(np.array([0, 1]))
    restored.load_state_dict(state)
    assert np.array_equal(restored.obs, state["obs"])


def test_a_time_limit_is_restored_too():
    original, restored = (make(clock("test/ClockLimited")) for _ in range(2))
    for _ in range(3):
        original.step(np.zeros(2, int))
    restored.load_state_dict(original.state_dict())
    ended = [restored.step(np.zeros(2, int))[3].all() for _ in range(2)]
    assert ended == [False, True]


def test_a_saved_state_does_not_change_when_the_environments_go_on():
    envs = make(clock(ends=4))
    envs.step(np.array([1, 2]))
    state = envs.state_dict()
    kept = {name: array.copy() for name, array in state.items()}
    for _ in range(6):
        envs.step(np.array([0, 0]))
    assert_same_state(state, kept)


@pytest.mark.parametrize("steps", [511, 512, 513, 1_100])
def test_an_episode_of_any_length_is_restored(steps):
    original, restored = (make(clock(), num_envs=1) for _ in range(2))
    for step in range(steps):
        original.step(np.array([step % 3]))
    state = original.state_dict()
    assert state["actions"].tolist() == [[step % 3 for step in range(steps)]]
    restored.load_state_dict(state)
    for action in (2, 0):
        for a, b in zip(
            original.step(np.array([action])), restored.step(np.array([action])), strict=True
        ):
            assert np.array_equal(a, b)
    assert_same_state(restored.state_dict(), original.state_dict())


def test_an_episode_that_does_not_end_takes_a_few_bytes_a_step():
    envs, action, steps = make(clock(), num_envs=1), np.zeros(1, int), 4_000
    envs.step(action)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(steps):
        envs.step(action)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / steps < 10


def test_an_environment_not_determined_by_its_seed_is_refused():
    envs = make(clock(fickle=True, ends=3))
    for _ in range(4):  # the second episode shows what happened in the first
        envs.step(np.zeros(2, int))
    with pytest.raises(ValueError, match="clock is not determined by its seed and actions"):
        make(clock(fickle=True, ends=3)).load_state_dict(envs.state_dict())


@pytest.mark.parametrize("ends", [3, 5])  # before where the saved one was, and right there
def test_an_episode_that_ends_as_it_is_played_again_is_not_the_same(ends):
    envs = make(clock())
    for _ in range(5):
        envs.step(np.zeros(2, int))
    with pytest.raises(ValueError, match="clock is not determined by its seed and actions"):
        make(clock(ends=ends)).load_state_dict(envs.state_dict())


def test_another_seed_is_not_taken_for_the_same_episodes():
    envs = make(find_task("CartPole"))
    with pytest.raises(ValueError, match="cannot be resumed exactly"):
        make(find_task("CartPole"), seed=lambda e, k: 5).load_state_dict(envs.state_dict())


BROKEN = {
    "a NaN reward": ((100, 3), ("reward", np.nan), "a reward"),
    "an infinite reward": ((100, 3), ("reward", -np.inf), "a reward"),
    "a NaN observation": ((100, 3), ("obs", np.nan), "an observation"),
    "an infinite observation": ((100, 3), ("obs", np.inf), "an observation"),
    "a NaN last observation": ((100, 4), ("obs", np.nan), "an observation"),
    "a NaN first observation of the next episode": ((101, 0), ("obs", np.nan), "an observation"),
}


@pytest.mark.parametrize(("where", "what", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_a_value_that_is_not_finite_is_refused_and_the_step_has_not_happened(where, what, said):
    envs = make(clock(ends=4, broken={where: what}))
    good_steps = 3 if where[0] == 101 else where[1] - 1
    for _ in range(good_steps):
        envs.step(np.array([1, 2]))
    before = envs.state_dict()
    with pytest.raises(NonFiniteData, match=f"clock gave {said} that is NaN or infinite"):
        envs.step(np.array([0, 0]))
    assert_same_state(envs.state_dict(), before)
    healthy = make(clock(ends=4))
    healthy.load_state_dict(before)
    healthy.step(np.array([0, 0]))


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_reward_too_large_for_float32_is_refused():
    envs = make(clock(broken={(100, 1): ("reward", 1e300)}))
    with pytest.raises(NonFiniteData, match="a reward"):
        envs.step(np.zeros(2, int))


def test_a_first_observation_that_is_not_finite_is_refused():
    with pytest.raises(NonFiniteData, match="an observation"):
        make(clock(broken={(100, 0): ("obs", np.nan)}))
