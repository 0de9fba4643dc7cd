"""EnvPool: refused in one line where it cannot serve; whole rows where it can."""

import sys

import numpy as np
import pytest

from envs import SharedSpace, Task, TaskEnvs, find_task


def test_without_envpool_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(ValueError, match=r"pip install 'retain-rl\[envpool\]'\Z"):
        find_task("CartPole").backend(2, "envpool")


@pytest.fixture
def pooled():
    pytest.importorskip("envpool")

    def make(name: str, num_envs: int = 4, seed: int = 0) -> TaskEnvs:
        task = find_task(name)
        space = SharedSpace.of([task])
        return TaskEnvs(task, space, lambda e, k: seed + e, num_envs, vectorization="envpool")

    return make


@pytest.mark.filterwarnings("error:.*precision lowered")
def test_spaces_do_not_warn(pooled):
    """Else a refusal, which is one line, would come after eight others."""
    pooled("CartPole", num_envs=1).close()


# EnvPool keeps what it shows, not what it computes with, so a step is compared from its own state.
@pytest.mark.parametrize(("name", "steps"), [("CartPole", 150), ("MountainCar", 450)])
def test_rows_are_whole_episodes_within_the_time_limit(name, steps, pooled):
    envs, rng = pooled(name), np.random.default_rng(0)
    length, ends = np.zeros(4, int), 0
    before, ended = envs.obs, np.zeros(4, bool)
    for _ in range(steps):
        obs = envs.obs.copy()  # one step after the other, none lost and none twice
        assert np.array_equal(obs[~ended], before[~ended])
        assert (np.abs(obs[ended, -1]) <= 0.05).all()  # a first state
        before, _, terminated, truncated = envs.step(rng.integers(envs.space.num_actions, size=4))
        assert not np.array_equal(before, obs)
        ended = terminated | truncated
        length += 1
        assert np.array_equal(truncated, (length == 200) & ~terminated & (name == "MountainCar"))
        length[ended] = 0
        ends += ended.sum()
    assert ends >= 8


def test_a_step_of_cartpole_is_gymnasiums_to_float_precision(pooled):
    envs, rng = pooled("CartPole"), np.random.default_rng(1)
    single = find_task("CartPole").make_env()
    single.reset(seed=0)
    for _ in range(60):
        state, action = envs.obs[0].astype(float), rng.integers(2, size=4)
        after, reward, terminated, _ = envs.step(action)
        single.reset(seed=0)
        single.unwrapped.state = state
        expected, pay, over, *_ = single.step(int(action[0]))
        assert np.allclose(after[0], expected, atol=1e-5)
        assert (reward[0], terminated[0]) == (pay, over)


def test_the_same_seeds_give_the_same_run_and_others_another(pooled):
    one, two, other = (pooled("CartPole", seed=seed) for seed in (2**32 - 9, 2**32 - 9, 50))
    rng = np.random.default_rng(2)
    for _ in range(60):
        action = rng.integers(2, size=4)
        shown = [envs.step(action)[0] for envs in (one, two, other)]
        assert np.array_equal(shown[0], shown[1])
    assert not np.array_equal(shown[0], shown[2])


def test_resuming_within_a_stage_is_refused_with_a_cure(pooled):
    envs = pooled("CartPole")
    with pytest.raises(ValueError, match=r"^EnvPool cannot seed .* CartPole .* last switch\Z"):
        envs.load_state_dict(envs.state_dict())


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (find_task("retain/Recall"), "EnvPool has no retain/Recall-v0: use --vectorization auto"),
        (Task("moon", "CartPole-v1", kwargs={"gravity": 1.6}), "EnvPool cannot make CartPole-v1"),
    ],
)
def test_what_envpool_does_not_have_is_refused(task, message):
    pytest.importorskip("envpool")
    with pytest.raises(ValueError, match=f"^{message}"):
        task.backend(2, "envpool")
