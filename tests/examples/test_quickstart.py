"""The first program of a newcomer, only shorter."""

import importlib.util
from pathlib import Path

import pytest

from experiments import Config

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart.py"


@pytest.fixture
def quickstart():
    spec = importlib.util.spec_from_file_location("quickstart", QUICKSTART)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_quickstart_prints_scores_and_metrics(quickstart, tmp_path, capsys):
    config = Config(
        envs="retain/Recall:80,retain/RecallShifted:80", hidden=(16,), num_envs=4, batch_size=16,
        learning_starts=40, eval_interval=0, eval_episodes=2, logdir=str(tmp_path),
    )  # fmt: skip
    result = quickstart.main(config)
    out = capsys.readouterr().out
    assert str(result.scores.mean(axis=0).round(1)) in out
    assert f"retention: {result.metrics['retention']['mean']}" in out
