"""Scores: greedy episodes of every task, each played to its end and no further."""

import gymnasium as gym
import numpy as np
import pytest

from envs import SharedSpace, parse_sequence
from experiments.evaluation import Evaluator


class Alternating(gym.Env):
    """Actions 3 and 4; pays its step number for action 4; lasts 2 to 9 steps, then refuses."""

    def __init__(self):
        self.observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(2, start=3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(2, 10))
        return np.ones(1, np.float32), {}

    def step(self, action):
        assert self.left > 0, "the episode is over"
        assert action in (3, 4)
        self.left -= 1
        return np.ones(1, np.float32), float(action == 4), False, self.left == 0, {}


gym.register("test/Alternating-v0", Alternating)


def evaluator(envs: str, seeds=(0,)) -> Evaluator:
    sequence = parse_sequence(envs, 100)
    return Evaluator(sequence, SharedSpace.of(sequence.tasks), list(seeds))


def always(action: int):
    return lambda obs, task: np.full(obs.shape[:2], action)


def knows(obs: np.ndarray, task: int) -> np.ndarray:
    """The answers of Recall; its shifted sister wants the next symbol."""
    return (obs.argmax(-1) + task) % 4


def test_a_perfect_policy_scores_the_most_at_each_task():
    scores = evaluator("retain/Recall,retain/RecallShifted").score_all(knows, 5, (0, 0))
    assert scores.tolist() == [[10, 10]]


def test_every_member_is_scored_by_its_own_actions():
    def policy(obs, task):
        return np.where(np.array([True, False])[:, None], knows(obs, task), 5)

    scores = evaluator("retain/Recall,retain/RecallShifted", (0, 1)).score_all(policy, 3, (0, 0))
    assert scores.tolist() == [[10, 10], [0, 0]]


def test_an_episode_is_played_to_its_end_and_no_further():
    returns = evaluator("test/Alternating").returns(always(1), 0, 40, (0, 0))
    assert returns.shape == (1, 40)
    assert sorted(set(returns[0])) == list(range(2, 10))


def test_the_first_action_of_an_environment_is_its_own():
    assert not evaluator("test/Alternating").returns(always(0), 0, 4, (0, 0)).any()


def test_a_score_is_the_mean_of_the_episodes_returns():
    tested = evaluator("test/Alternating", (0, 1))
    returns = tested.returns(always(1), 0, 7, (1, 50))
    assert tested.score_all(always(1), 7, (1, 50)).tolist() == [[r.mean()] for r in returns]


def test_episodes_follow_from_member_task_and_evaluation_alone():
    both, alone = evaluator("test/Alternating", (0, 1)), evaluator("test/Alternating", (1,))
    returns = both.returns(always(1), 0, 20, (1, 50))
    assert np.array_equal(both.returns(always(1), 0, 20, (1, 50)), returns)
    assert np.array_equal(alone.returns(always(1), 0, 20, (1, 50))[0], returns[1])
    assert not np.array_equal(both.returns(always(1), 0, 20, (1, 100)), returns)
    assert not np.array_equal(returns[0], returns[1])


def test_more_episodes_begin_with_the_same_ones():
    few, many = (evaluator("test/Alternating").returns(always(1), 0, n, (0, 0)) for n in (5, 9))
    assert np.array_equal(many[:, :5], few)


def test_random_play_takes_each_action_of_a_task_equally_often_and_no_other():
    """4 and 2 actions: one in 4 and one in 2 answers is right, ten answers make an episode."""
    tested = evaluator("retain/Recall,retain/RecallSmall")
    large, small = tested.random_returns(200)
    assert large == pytest.approx(2.5, abs=4.5 * np.sqrt(10 * 0.25 * 0.75 / 200))
    assert small == pytest.approx(5.0, abs=4.5 * np.sqrt(10 * 0.5 * 0.5 / 200))
    assert tested.random_returns(200) == [large, small]
