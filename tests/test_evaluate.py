"""evaluate.py as it is typed, and its films."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evaluate import main
from experiments import Config, train
from experiments.playback import load_run
from experiments.seeding import Use, episode_seed

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run of two tasks that can be drawn, of short episodes."""
    logdir = tmp_path_factory.mktemp("trained")
    config = Config(
        envs="CartPole:64,retain/CartPoleReversed:64", hidden=(16,), num_envs=4, eval_episodes=1,
        eval_interval=0, learning_starts=1000, logdir=str(logdir), name="mine",
    )  # fmt: skip
    return train(config).folder


@pytest.fixture
def evaluate(monkeypatch, capfd):
    """Runs evaluate.py in this process: exit code and standard error."""

    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, capfd.readouterr().err

    return run


def episode_length(folder: Path, task: int) -> int:
    """Steps of the episode that is filmed by default."""
    run = load_run(str(folder), "", None)
    env = run.sequence.tasks[task].make_env()
    obs, _ = env.reset(seed=episode_seed(0, Use.EVALUATION, task, 3, 0))
    for step in itertools.count(1):
        seen = run.space.encode_one(task, obs)[None, None]
        obs, _, terminated, truncated, _ = env.step(int(run.agent.greedy(seen, task)[0, 0]))
        if terminated or truncated:
            return step


def test_a_film_of_each_task_can_be_played_and_shows_one_episode(trained):
    pytest.importorskip("pygame")
    editor = pytest.importorskip("moviepy")
    command = [sys.executable, ROOT / "evaluate.py", trained, "--episodes", "1", "--video"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "CartPole " in done.stdout and "retain/CartPoleReversed " in done.stdout
    for task, name in enumerate(("CartPole", "retain_CartPoleReversed")):
        file = trained / "videos" / f"{name}-128.mp4"
        assert f"video: {file}" in done.stdout
        with editor.VideoFileClip(str(file)) as film:
            assert film.size == [600, 400]
            assert film.get_frame(0).std() > 0
            frames = round(film.duration * film.fps)
            assert frames == pytest.approx(episode_length(trained, task) + 1, abs=2)


def test_without_the_library_that_writes_films_the_extra_is_named(evaluate, trained, monkeypatch):
    pytest.importorskip("pygame")
    for name in [n for n in sys.modules if n.split(".")[0] == "moviepy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "moviepy", None)
    code, err = evaluate(trained, "--episodes", 1, "--video")
    assert (code, err) == (2, "error: videos need an extra: pip install 'retain-rl[video]'\n")


def test_without_the_library_that_draws_the_extra_is_named(evaluate, trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    code, err = evaluate(trained, "--episodes", 1, "--video")
    assert (code, err) == (2, "error: drawing needs an extra: pip install 'retain-rl[video]'\n")


def test_done_is_exit_code_0(evaluate, trained):
    assert evaluate(trained, "--episodes", 1) == (0, "")
