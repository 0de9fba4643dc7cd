"""Recall: a task learned in seconds whose sibling wants the opposite."""

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs import SharedSpace, TaskEnvs, find_task, parse_sequence

NAMES = ("retain/Recall", "retain/RecallShifted", "retain/RecallSmall")


def episode_return(name: str, shift: int) -> float:
    """Of answering each symbol s with s + shift, modulo the number of actions."""
    task = find_task(name)
    space = SharedSpace.of([task])
    envs = TaskEnvs(task, space, lambda e, k: 50 * e + k, num_envs=4)
    total, ended = np.zeros(4), np.zeros(4, bool)
    while not ended.any():
        answer = (envs.obs.argmax(1) + shift) % space.num_actions
        _, reward, terminated, truncated = envs.step(answer)
        total += reward
        ended = terminated | truncated
    assert ended.all()
    assert len(set(total)) == 1
    return float(total[0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_a_toy_passes_gymnasiums_checks(name):
    check_env(find_task(name).make_env().unwrapped)


@pytest.mark.parametrize(("name", "shift"), [(NAMES[0], 0), (NAMES[1], 1), (NAMES[2], 0)])
def test_the_right_answers_earn_ten(name, shift):
    assert episode_return(name, shift) == 10


@pytest.mark.parametrize(("name", "shift"), [(NAMES[0], 1), (NAMES[1], 0)])
def test_what_one_rule_teaches_earns_nothing_under_the_other(name, shift):
    assert episode_return(name, shift) == 0


def test_two_rules_show_the_same_symbols_for_one_seed():
    shown = []
    for name in NAMES[:2]:
        env = find_task(name).make_env()
        first, _ = env.reset(seed=8)
        shown.append([first, *(env.step(0)[0] for _ in range(9))])
    assert np.array_equal(*shown)
    assert len({int(symbol.argmax()) for symbol in shown[0]}) == 4


def test_the_toy_sequence_is_two_conflicting_rules():
    assert parse_sequence("toy", 1).names == list(NAMES[:2])
