"""The agent learns, forgets without a memory, and remembers with one. Half a minute each."""

import numpy as np
import pytest

from experiments import Config, Result, train

pytestmark = pytest.mark.slow
CONTROL = {"buffer": "fifo", "methods": "none", "head": "single"}
CURE = {"buffer": "hybrid", "methods": "distill", "head": "per_task"}


# Of 200 members with other seeds 162 learned the whole first rule (of 200 before exploration was
# drawn ahead, 159: Fisher's exact test, p = 0.80), the others all but one or two of its symbols.
# Of the first rule members reached 9.50 on average (deviation 1.07), of the second, without a
# memory, 9.31 (1.25). Each bound here is missed by chance once in 1,500 to 2,000 times.
MEMBERS, AT_LEAST = 20, 10


def learn(tmp_path, **changes) -> Result:
    """A run of some members, all else as by default."""
    return train(Config(eval_interval=0, logdir=str(tmp_path), **changes))


def learn_toy(tmp_path, **changes) -> tuple[Result, np.ndarray]:
    """A run of the toy sequence, and which members learned the whole first rule."""
    result = learn(tmp_path, envs="toy", learning_starts=200, seeds=MEMBERS, **changes)
    first = result.scores[:, 1, 0]
    assert first.mean() > 8.7
    assert (first > 9).sum() >= AT_LEAST
    assert result.scores[:, 2, 1].mean() > 8.4
    return result, first > 9


def kept(result: Result) -> np.ndarray:
    """Each member's share of its first task's return above random play, after the second task."""
    random = result.summary["reference"]["random"][0]
    return (result.scores[:, 2, 0] - random) / (result.scores[:, 1, 0] - random)


def test_recent_rows_and_one_head_learn_the_second_rule_and_forget_the_first(tmp_path):
    result, _ = learn_toy(tmp_path, **CONTROL)
    assert (kept(result) < 0.5).all()


def test_a_hybrid_memory_with_distillation_learns_both_rules_and_keeps_them(tmp_path):
    result, learned = learn_toy(tmp_path, **CURE)
    assert (kept(result)[learned] < 0.95).sum() <= 1


def test_in_half_precision_both_rules_are_learned_and_kept_as_well(tmp_path):
    result, learned = learn_toy(tmp_path, **CURE, precision="bfloat16")
    assert (kept(result)[learned] < 0.95).sum() <= 1


def test_cartpole_is_learned_in_part_within_ten_thousand_steps(tmp_path):
    result = learn(tmp_path, envs="CartPole:10000", eval_episodes=10, seeds=5)
    assert result.scores[:, 0].mean() < 50
    assert result.scores[:, 1].mean() > 150
