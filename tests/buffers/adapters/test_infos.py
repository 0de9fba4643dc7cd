"""What infos say of rows, in each of the forms in which environments give them."""

import numpy as np
import pytest
from gymnasium import Env
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from buffers import Column, EpisodeReservoir
from buffers.adapters.infos import columns_in, timeouts
from buffers.columns import make_columns

COLUMNS = make_columns(
    Column((2,)), Column(), {"q": Column((3,), fill=-1), "level": Column((), int)}
)


class Talking(Env):
    """Says its task always, and its level once it has made two steps."""

    observation_space = action_space = Discrete(3)

    def __init__(self, task):
        self.task = task
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        return 0, {}

    def step(self, action):
        self.steps += 1
        info = {"task": self.task, "q": np.full(3, self.task + 0.5)}
        return 0, 0.0, False, False, info | ({"level": 7} if self.steps + self.task > 2 else {})


def by_name(found):
    return {name: values.tolist() for name, values in found.items()}


def test_gymnasiums_vector_environments_give_arrays_with_masks():
    envs = SyncVectorEnv(
        [lambda: Talking(1), lambda: Talking(2)], autoreset_mode=AutoresetMode.SAME_STEP
    )
    envs.reset()
    infos = envs.step(np.zeros(2, int))[-1]
    assert "_level" in infos
    assert by_name(columns_in(infos, COLUMNS)) == {
        "task": [1, 2], "q": [[1.5] * 3, [2.5] * 3], "level": [0, 7],
    }  # fmt: skip


def test_lists_of_dicts_give_the_same_and_gaps_are_filled():
    infos = [{"task": 3}, {"q": [1, 2, 3], "state": "theirs", "reward": 9}]
    found = columns_in(infos, COLUMNS)
    assert by_name(found) == {"task": [3, 0], "q": [[-1] * 3, [1, 2, 3]]}


def test_arrays_without_a_mask_are_whole_and_masked_ones_get_the_columns_fill():
    infos = {"q": np.ones((2, 3)), "_q": np.array([True, False]), "task": np.array([4, 5])}
    found = columns_in(infos, COLUMNS)
    assert by_name(found) == {"task": [4, 5], "q": [[1] * 3, [-1] * 3]}


@pytest.mark.parametrize("infos", [None, [], {}, [{}, {}]])
def test_infos_that_say_nothing_give_nothing(infos):
    assert columns_in(infos, COLUMNS) == {}
    assert timeouts(infos, 2).tolist() == [False, False]


@pytest.mark.parametrize(
    "infos", [[{}, {"TimeLimit.truncated": True}], {"TimeLimit.truncated": np.array([False, True])}]
)
def test_timeouts_are_found(infos):
    assert timeouts(infos, 2).tolist() == [False, True]


def test_what_gymnasiums_statistics_put_under_episode_is_no_column():
    envs = RecordEpisodeStatistics(SyncVectorEnv([lambda: Talking(1), lambda: Talking(2)]))
    envs.reset()
    infos = envs.step(np.zeros(2, int))[-1]
    infos |= {"episode": {"r": np.ones(2), "l": np.ones(2)}, "_episode": np.ones(2, bool)}
    columns = make_columns(Column((2,)), Column(), EpisodeReservoir.needs)
    assert by_name(columns_in(infos, columns)) == {"task": [1, 2]}
