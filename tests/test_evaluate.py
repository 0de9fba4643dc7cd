"""evaluate.py as it is typed, and its films."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv

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


@pytest.mark.parametrize(
    ("drawn", "said"),
    [
        (None, "a picture is (), not (height, width, 3)"),
        (np.zeros((8, 8)), "a picture is (8, 8), not (height, width, 3)"),
        (RuntimeError("no display\nhere"), "RuntimeError: no display here"),
    ],
    ids=["nothing", "grey", "an error"],
)
def test_what_an_environment_cannot_draw_is_one_line(evaluate, trained, monkeypatch, drawn, said):
    pytest.importorskip("moviepy")

    def render(env):
        if isinstance(drawn, Exception):
            raise drawn
        return drawn

    monkeypatch.setattr(CartPoleEnv, "render", render)
    code, err = evaluate(trained, "--episodes", 1, "--video")
    assert (code, err) == (2, f"error: CartPole cannot be drawn: {said}\n")


def test_pictures_are_written_as_they_are_drawn_and_half_of_a_film_is_not_left(
    evaluate, trained, monkeypatch
):
    """All pictures of a long episode may not fit into memory. Here they get wider after a while."""
    pytest.importorskip("moviepy")
    from moviepy.video.io.ffmpeg_writer import FFMPEG_VideoWriter

    drawn, written = [], []
    write = FFMPEG_VideoWriter.write_frame

    def render(env):
        drawn.append(len(written))
        return np.zeros((8, 8 if len(drawn) < 5 else 10, 3))

    def count(writer, frame):
        written.append(frame)
        write(writer, frame)

    monkeypatch.setattr(CartPoleEnv, "render", render)
    monkeypatch.setattr(FFMPEG_VideoWriter, "write_frame", count)
    film = trained / "videos" / "CartPole-128.mp4"
    film.unlink(missing_ok=True)
    code, err = evaluate(trained, "--episodes", 1, "--video")
    said = "error: CartPole cannot be drawn: a picture is (8, 10, 3), not (8, 8, 3)\n"
    assert (code, err) == (2, said)
    assert drawn == [0, 1, 2, 3, 4]
    assert not film.exists()


def test_of_a_fourth_channel_of_pictures_nothing_is_seen(evaluate, trained, monkeypatch):
    pytest.importorskip("moviepy")
    monkeypatch.setattr(CartPoleEnv, "render", lambda env: np.zeros((8, 8, 4)))
    assert evaluate(trained, "--episodes", 1, "--video") == (0, "")


def test_a_film_that_could_not_be_finished_leaves_the_one_before(evaluate, trained, monkeypatch):
    """Its end is written when all pictures have been: then a full disk is seen in a status only."""
    pytest.importorskip("moviepy")
    from moviepy.video.io.ffmpeg_writer import FFMPEG_VideoWriter

    film, close = trained / "videos" / "CartPole-128.mp4", FFMPEG_VideoWriter.close
    film.parent.mkdir(exist_ok=True)
    film.write_text("before")

    def fail(writer):
        process = writer.proc
        close(writer)
        if process:
            process.returncode = 1

    monkeypatch.setattr(FFMPEG_VideoWriter, "close", fail)
    monkeypatch.setattr(CartPoleEnv, "render", lambda env: np.zeros((8, 8, 3)))
    code, err = evaluate(trained, "--episodes", 1, "--video")
    assert code == 2
    assert err == f"error: {film} could not be finished: is the disk full?\n"
    assert film.read_text() == "before"
    assert [*film.parent.glob("*.part.*")] == []


def test_done_is_exit_code_0(evaluate, trained):
    assert evaluate(trained, "--episodes", 1) == (0, "")
