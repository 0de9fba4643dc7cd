"""A newcomer's own method is combined, logged and held to its word like any other."""

import pytest

from agents import METHODS
from experiments import Config


@pytest.fixture
def own_method(load):
    before = dict(METHODS)  # what it registers is gone after the test
    yield load("own_method")
    METHODS.clear()
    METHODS.update(before)


def config(tmp_path, **changed):
    return Config(
        envs="retain/Recall:80,retain/RecallShifted:80", hidden=(16,), num_envs=4, batch_size=16,
        learning_starts=40, eval_interval=0, eval_episodes=2, logdir=str(tmp_path), **changed,
    )  # fmt: skip


def test_own_method_trains_beside_one_of_ours(own_method, tmp_path, capsys):
    result = own_method.main(config(tmp_path, methods="slow:strength=0.2,distill"))
    assert f"retention: {result.metrics['retention']['mean']}" in capsys.readouterr().out
    assert result.summary["config"]["methods"] == "slow:strength=0.2,distill"


def test_own_method_has_its_options_checked(own_method, tmp_path):
    with pytest.raises(ValueError, match="slow:rate must be a number"):
        config(tmp_path, methods="slow:rate=fast")
