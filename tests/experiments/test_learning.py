"""The agent learns, forgets without a memory, and remembers with one. Half a minute each."""

import numpy as np
import pytest

from experiments import Config, Result, train

pytestmark = pytest.mark.slow
CONTROL = {"buffer": "fifo", "methods": "none", "head": "single"}
CURE = {"buffer": "hybrid", "methods": "distill", "head": "per_task"}


def learn(tmp_path, **changes) -> Result:
    """A run of five members, all else as by default."""
    return train(Config(seeds=5, eval_interval=0, logdir=str(tmp_path), **changes))


def kept(result: Result) -> np.ndarray:
    """Each member's share of its first task's return above random play, after the second task."""
    random = result.summary["reference"]["random"][0]
    return (result.scores[:, 2, 0] - random) / (result.scores[:, 1, 0] - random)


def test_recent_rows_and_one_head_learn_the_second_rule_and_forget_the_first(tmp_path):
    result = learn(tmp_path, envs="toy", learning_starts=200, **CONTROL)
    assert (result.scores[:, 1, 0] > 9).all()
    assert result.scores[:, 2, 1].mean() > 7
    assert (kept(result) < 0.5).all()


def test_a_hybrid_memory_with_distillation_learns_both_rules_and_keeps_them(tmp_path):
    result = learn(tmp_path, envs="toy", learning_starts=200, **CURE)
    # Of forty members with other seeds ten had learned only a part of the first rule by its end.
    learned = result.scores[:, 1, 0] > 9
    assert learned.sum() >= 2
    assert result.scores[:, 1, 0].mean() > 7
    assert result.scores[:, 2, 1].mean() > 7
    assert (kept(result)[learned] >= 0.95).all()


def test_cartpole_is_learned_in_part_within_ten_thousand_steps(tmp_path):
    result = learn(tmp_path, envs="CartPole:10000", eval_episodes=10)
    assert result.scores[:, 0].mean() < 50
    assert result.scores[:, 1].mean() > 150
