"""Environments stepped one after the other: as Gymnasium steps them, to the bit."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from envs.sync import SyncEnvs


class Scripted(gym.Env):
    """Shows what it is told to, `{step: observation}`, in one array if it can; three actions."""

    action_space = spaces.Discrete(3, start=4)

    def __init__(self, space, shown, ends=10):
        self.observation_space, self.shown, self.ends = space, shown, ends
        self.room = np.empty(space.shape, space.dtype) if isinstance(space, spaces.Box) else None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.number = 0
        self.taken = []
        return self._show(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.taken.append(int(action))
        self.number += 1
        return (
            self._show(),
            self.number / 3,
            self.number == self.ends,
            self.number % 2 == 0,
            {"a": 1},
        )

    def _show(self):
        shown = self.shown[self.number % len(self.shown)]
        if (
            self.room is None
            or np.shape(shown) != self.room.shape
            or shown.dtype != self.room.dtype
        ):
            return shown
        self.room[...] = shown
        return self.room


def opened(space, shown, kind=SyncEnvs, **kwargs):
    makers = [lambda shift=shift: Scripted(space, shown[shift:], **kwargs) for shift in range(2)]
    return kind(makers, autoreset_mode=AutoresetMode.DISABLED)


SPACES = {
    "vector": spaces.Box(-1, 1, (3,), np.float32),
    "number": spaces.Box(-1, 1, (), np.float32),
    "image": spaces.Box(0, 255, (4, 5, 3), np.uint8),
    "discrete": spaces.Discrete(5, start=2),
    "binary": spaces.MultiBinary(4),
    "digits": spaces.MultiDiscrete([3, 4]),
    "dict": spaces.Dict(a=spaces.Box(0, 1, (2,)), b=spaces.Tuple([spaces.Discrete(3)])),
}


def flat(value):
    if isinstance(value, dict):
        return [array for key in value for array in flat(value[key])]
    if isinstance(value, tuple):
        return [array for part in value for array in flat(part)]
    return [np.array(value)]


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
def test_a_step_is_gymnasiums_and_what_was_given_out_stays_as_it_was(space):
    space.seed(0)
    shown = [space.sample() for _ in range(5)]
    mine, other = (opened(space, shown, kind) for kind in (SyncEnvs, SyncVectorEnv))
    given, copies = [], []
    for step in range(9):
        if step % 2 == 0:  # the time limit
            for envs in (mine, other):
                envs.reset(options={"reset_mask": np.array([True, True])})
        action = np.array([4, 6]) if step % 3 else np.array([5, 4])
        (seen, *rest, infos), (seen_there, *rest_there, _) = mine.step(action), other.step(action)
        assert infos == {}
        for a, b in zip(flat((seen, *rest)), flat((seen_there, *rest_there)), strict=True):
            assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        given.append((seen, *rest))
        copies.append(flat(given[-1]))
    for row, copy in zip(given, copies, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(flat(row), copy, strict=True))


@pytest.mark.parametrize(
    ("space", "shown", "error"),
    [
        (SPACES["vector"], np.zeros(4, np.float32), ValueError),
        (SPACES["vector"], np.zeros((1, 3), np.float32), ValueError),
        (SPACES["number"], np.zeros(1, np.float32), ValueError),
        (SPACES["image"], np.zeros((5, 4, 3), np.uint8), ValueError),
        (SPACES["image"], np.full((4, 5, 3), 0.7), TypeError),
        (SPACES["image"], np.full((4, 5, 3), np.nan), TypeError),
    ],
)
def test_an_observation_that_its_space_cannot_hold_is_refused(space, shown, error):
    envs = opened(space, [np.zeros(space.shape, space.dtype)] * 2)
    envs.reset()
    for env in envs.envs:
        env.shown = [shown]
    with pytest.raises(error):
        envs.step(np.array([4, 4]))


def test_nothing_is_stepped_before_a_copy_that_ended_is_reset():
    envs = opened(SPACES["vector"], [np.zeros(3, np.float32)] * 3, ends=1)
    envs.reset()
    envs.step(np.array([4, 5]))
    envs.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(gym.error.ResetNeeded, match=r"copies \[1\]"):
        envs.step(np.array([6, 6]))
    assert [env.taken for env in envs.envs] == [[], [5]]
