"""A newcomer's own method is combined, logged and held to its word like any other."""

import sys

import pytest

from agents import METHODS
from experiments import Config
from experiments.command import run_command, train_command


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


@pytest.mark.parametrize(
    ("methods", "code", "said"),
    [
        ("slow:strength=0.2,ewc", 0, "updates run eagerly"),
        ("slow:rat=1", 2, "error: unknown option of slow 'rat'; did you mean rate?"),
        ("slwo", 2, "error: unknown method 'slwo'; did you mean slow?"),
    ],
)
def test_the_command_line_of_a_script_that_registers_it_knows_it(
    own_method, tmp_path, monkeypatch, capsys, methods, code, said
):
    words = "--envs retain/Recall:80 --hidden 16 --num-envs 4 --batch-size 16 --learning-starts 40"
    words += f" --eval-interval 0 --eval-episodes 2 --threads 1 --methods {methods}"
    monkeypatch.setattr(sys, "argv", ["mine.py", *words.split(), "--logdir", str(tmp_path)])
    assert run_command(train_command) == code
    assert said in capsys.readouterr().err
