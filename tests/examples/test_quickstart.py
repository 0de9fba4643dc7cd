"""The first program of a newcomer, only shorter."""

import pytest

from experiments import Config


@pytest.fixture
def quickstart(load):
    return load("quickstart")


def test_quickstart_prints_scores_and_metrics(quickstart, tmp_path, capsys):
    config = Config(
        envs="retain/Recall:80,retain/RecallShifted:80", hidden=(16,), num_envs=4, batch_size=16,
        learning_starts=40, eval_interval=0, eval_episodes=2, logdir=str(tmp_path),
    )  # fmt: skip
    result = quickstart.main(config)
    out = capsys.readouterr().out
    assert str(result.scores.mean(axis=0).round(1)) in out
    assert f"retention: {result.metrics['retention']['mean']}" in out
