"""Episodes to evaluate with: native ones are those of single environments."""

import numpy as np
import pytest

from envs import SharedSpace, Task, find_task, make_episodes
from envs.episodes import NativeEpisodes, SingleEpisodes

TASKS = [find_task("CartPole"), find_task("Acrobot"), find_task("retain/Recall")]


@pytest.mark.parametrize(
    ("index", "native", "kind"),
    [(0, True, NativeEpisodes), (0, False, SingleEpisodes), (2, True, SingleEpisodes)],
)
def test_native_environments_are_taken_where_they_are_wanted_and_there(index, native, kind):
    episodes = make_episodes(TASKS[index], SharedSpace.of(TASKS), index, native)
    assert isinstance(episodes, kind)


@pytest.mark.parametrize("sizes", [(7, 3, 7)])
def test_native_and_single_environments_play_the_same_episodes(sizes):
    space, rng = SharedSpace.of(TASKS), np.random.default_rng(0)
    mine, other = (make_episodes(TASKS[0], space, 0, native) for native in (True, False))
    for size in sizes:
        seeds = rng.integers(2**32, size=size).tolist()
        obs = mine.reset(seeds)
        assert obs.shape == (size, 6)
        assert np.array_equal(obs, other.reset(seeds))
        active = np.ones(size, bool)
        while active.any():
            action = rng.integers(2, size=size)
            for a, b in zip(mine.step(action, active), other.step(action, active), strict=True):
                assert np.array_equal(a[active], b[active])
                ended = a
            active &= ~ended


def test_a_single_environment_rests_when_its_episode_has_ended():
    task = Task("clock", "test/Clock-v0", kwargs={"ends": 2, "spread": 3})
    episodes = make_episodes(task, SharedSpace.of([task]), 0, True)
    episodes.reset([0, 1, 2])  # seeds that end after 2, 3 and 4 steps
    active, lengths = np.ones(3, bool), np.zeros(3)
    while active.any():
        obs, reward, ended = episodes.step(np.zeros(3, int), active)
        lengths += active
        assert np.array_equal(reward[active], 0.5 * lengths[active])
        active &= ~ended
    assert lengths.tolist() == [2, 3, 4]
    assert obs[:, 1].tolist() == [2, 3, 4]
