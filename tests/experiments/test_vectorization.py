"""Whatever steps the environments, a run learns the same, resumes exactly, and survives a crash."""

import multiprocessing
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from envs import SharedSpace, parse_sequence
from experiments import Config, Stopped, train
from experiments.command import run_command
from experiments.evaluation import Evaluator
from experiments.run import Run

pytestmark = pytest.mark.usefixtures("no_pictures")
SHORT = {
    "envs": "CartPole:120",
    "learning_starts": 16,
    "eval_interval": 0,
    "eval_episodes": 1,
    "n_step": 3,
}


@pytest.mark.parametrize("backend", ["native", "sync", "async"])
def test_a_run_resumed_exactly_whatever_steps_it_learns_the_same(
    backend, config, stopped_at, last_state, same_bits
):
    whole = train(config(**SHORT))  # in native environments
    asked = config(**SHORT, vectorization=backend, name="stopped")
    stopped_at(asked, 76)
    again = train(Config(resume=str(whole.folder.parent / "stopped")))
    states = [last_state(result.folder) for result in (whole, again)]
    for state in states:
        del state["config"]
    same_bits(*states)
    assert not multiprocessing.active_children()


def test_evaluations_are_the_same_in_native_environments(config):
    sequence = parse_sequence("CartPole,retain/CartPoleReversed", 1)
    space, scores = SharedSpace.of(sequence.tasks), []
    for native in (True, False):
        evaluator = Evaluator(sequence, space, [3, 4], native)
        by_angle = evaluator.score_all(lambda obs, task: (obs[..., 2] > 0).astype(int), 5, (0,))
        scores.append((by_angle.tolist(), evaluator.random_returns(4)))
        evaluator.close()
    assert scores[0] == scores[1]
    assert len(np.unique(scores[0][0])) == 4


@pytest.mark.parametrize(
    ("members", "said"),
    [(1, "1 at a time: Acrobot sync, MountainCar native"), (3, "3 at a time: Acrobot native, M")],
)
def test_what_steps_each_task_is_said(members, said, config):
    run = Run(config(envs="Acrobot,MountainCar", seeds=members, num_envs=1))
    assert run.stepped_by.startswith(f"environments, {said}")


FAILING = """
import gymnasium as gym
from envs.toy import Recall


class Fails(Recall):
    steps = 0

    def step(self, action):
        self.steps += 1
        if self.steps > 25:
            raise OverflowError("too many")
        return super().step(action)


gym.register("Fails-v0", Fails)
"""


@pytest.fixture
def failing(monkeypatch, tmp_path):
    """`failing:Fails-v0`: each copy fails at its 26th step."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "failing.py").write_text(FAILING)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    yield "failing:Fails-v0"
    del sys.modules["failing"], gym.registry["Fails-v0"]


@pytest.mark.filterwarnings("ignore:.*ERROR")
def test_a_worker_that_fails_stops_the_run_which_is_saved(failing, config, last_state, capsys):
    asked = config(envs=failing, steps=400, vectorization="async", name="mine", eval_episodes=1)

    def run() -> None:
        train(asked)

    assert run_command(run) == 3
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("stopped")]
    assert line.startswith("stopped: Fails-v0: OverflowError: too many; saved ")
    assert line.endswith(f"train.py --resume {Path(asked.logdir) / 'mine'}")
    state = last_state(Path(asked.logdir) / "mine")
    assert state["clock"]["step"] == 100  # 25 steps of 4 copies
    assert not multiprocessing.active_children()
    with pytest.raises(Stopped, match="OverflowError"):  # it goes on, into the same failure
        train(Config(resume="mine", logdir=asked.logdir))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vectorization": "native"}, "retain/Recall-v0 has no native vectorization"),
        ({"vectorization": "envpool"}, "retain-rl[envpool]"),
        ({"vectorization": "asink"}, "unknown vectorization 'asink'; did you mean async"),
    ],
)
def test_what_cannot_be_stepped_so_leaves_no_folder(
    config, changes, message, monkeypatch, tmp_path
):
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(ValueError, match=r"^.*\Z") as refused:
        train(config(**changes))
    assert message in str(refused.value)
    assert not (tmp_path / "runs").exists()
