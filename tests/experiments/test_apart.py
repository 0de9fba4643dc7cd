"""Members in processes of their own: the same run, in parts that stop and go on together."""

import logging
import os
import pty
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from experiments import Config, Stopped, apart, train
from experiments.apart import Follower
from experiments.checkpoint import checkpoint_files, load_newest
from experiments.folders import load_config, new_run
from experiments.replay import evaluate_run, parts_of
from experiments.screen import Screen
from experiments.threads import cores

SHORT = {"envs": "retain/Recall:160,retain/RecallShifted:120", "log_interval": 40, "seeds": 3}
BROKEN = """
import gymnasium as gym
from envs.toy import Recall

class Broken(Recall):
    def step(self, action):
        raise RuntimeError("a mistake")

gym.register("Broken-v0", Broken)
"""
TOP = """
import gymnasium as gym
from envs.toy import Recall
from experiments import Config, train

def register():
    gym.register("Mine-v0", Recall)

"""
MAIN = 'if __name__ == "__main__":\n'
pytestmark = pytest.mark.usefixtures("no_pictures")


def kill_first_part(monkeypatch, report: int) -> None:
    """The first part's process dies once it has sent so many reports."""
    parts, take, started = [], Follower.take, apart.started

    @contextmanager
    def see(run):
        with started(run) as found:
            parts.extend(found)
            yield found

    def kill(follower, number, message):
        sent.append(number)
        if sent.count(0) == report:
            parts[0].process.kill()
        take(follower, number, message)

    sent: list[int] = []
    monkeypatch.setattr(apart, "started", see)
    monkeypatch.setattr(Follower, "take", kill)


@pytest.mark.slow
def test_members_apart_are_shown_and_scored_as_members_together(config, scalars):
    apart_, together = [train(config(**SHORT, processes=n, name=f"in{n}")) for n in (2, 1)]
    assert apart_.scores == pytest.approx(together.scores, rel=1e-4)
    mine, other = scalars(apart_.folder), scalars(together.folder)
    assert mine.keys() == other.keys()
    for tag, points in other.items():
        assert [step for step, _ in mine[tag]] == [step for step, _ in points], tag
        values = [value for _, value in points]
        assert [v for _, v in mine[tag]] == pytest.approx(values, rel=1e-3, abs=1e-5), tag
    scores = [evaluate_run(str(run.folder), "", None, 2, 0).returns for run in (apart_, together)]
    assert scores[0] == pytest.approx(scores[1])


@pytest.mark.slow
def test_a_dead_process_is_named_and_the_run_goes_on_where_it_was(config, monkeypatch):
    whole = train(config(**SHORT, processes=2, name="whole"))
    with monkeypatch.context() as patch, pytest.raises(Stopped) as stopped:
        kill_first_part(patch, 4)
        train(config(**SHORT, processes=2, name="left"))
    folder = whole.folder.with_name("left")
    assert str(stopped.value) == (
        f"the process of members 0-1 ended by signal 9; saved all members in {folder / 'members'}; "
        f"go on with: python train.py --resume {folder}"
    )
    for _ in range(2):  # the second time, nothing is left to do
        resumed = train(Config(resume=str(folder)))
        assert resumed.summary["scores"] == whole.summary["scores"]
        assert resumed.summary["evaluations"] == whole.summary["evaluations"]


@pytest.mark.slow
def test_nan_in_one_part_stops_all_and_is_saved_as_it_was_before(config, faulty):
    with pytest.raises(Stopped, match=r"NaNAfter gave a reward that is") as stopped:
        train(config(**SHORT | {"envs": "faulty:NaNAfter-v0:4000"}, processes=2, name="left"))
    assert "go on with: python train.py --resume" in str(stopped.value)
    folders = parts_of("left", config().logdir, None)
    saved = filter(checkpoint_files, folders)  # the other may not be so far
    assert any(load_newest(folder)[1]["clock"]["step"] > 0 for folder in saved)


@pytest.mark.slow
def test_a_mistake_in_a_process_is_shown_with_its_place(config, monkeypatch, tmp_path, capfd):
    (tmp_path / "broken.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match="training failed: RuntimeError: a mistake"):
        train(config(**SHORT | {"envs": "broken:Broken-v0:100"}, processes=2))
    assert 'raise RuntimeError("a mistake")' in capfd.readouterr().err


@pytest.mark.slow
def test_a_mistake_in_a_process_is_shown_on_a_terminal_too(flags, tmp_path):
    """Where whoever shows progress takes standard error for itself."""
    (tmp_path / "broken.py").write_text(BROKEN)
    words = flags(**SHORT | {"envs": "broken:Broken-v0:100"}, processes=2, logdir=str(tmp_path))
    root = Path(apart.__file__).parents[1]
    env = os.environ | {"PYTHONPATH": f"{root}:{tmp_path}"}
    ours, theirs = pty.openpty()
    command = [sys.executable, str(root / "train.py"), *words]
    with subprocess.Popen(command, env=env, stdout=theirs, stderr=theirs):
        os.close(theirs)
        shown = read_all(ours)
    assert 'raise RuntimeError("a mistake")' in shown


def read_all(terminal: int) -> str:
    """What a terminal showed until nobody writes to it any more."""
    found = b""
    with suppress(OSError):  # how a terminal says that it is closed
        while chunk := os.read(terminal, 65_536):
            found += chunk
    os.close(terminal)
    return found.decode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("train(Config(**OPTIONS))", "with processes, call train below `if __name__"),
        (f"{MAIN}    register()\n    train(Config(**OPTIONS))", "must be there"),
        (f"register()\n{MAIN}    train(Config(**OPTIONS))", ""),
    ],
)
def test_a_script_is_told_what_its_processes_lack(tmp_path, config, script, said):
    options = vars(config(**SHORT | {"envs": "Mine-v0:80"}, processes=2))
    first = "" if "register" in script else "register()\n"
    (tmp_path / "script.py").write_text(f"{TOP}OPTIONS = {options}\n{first}{script}")
    env = os.environ | {"PYTHONPATH": str(Path(apart.__file__).parents[1])}
    command = [sys.executable, tmp_path / "script.py"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert (done.returncode == 0) == (said == "")
    assert said in done.stderr
    assert len(list((tmp_path / "runs").iterdir())) == 1


@pytest.mark.slow
def test_a_full_disk_here_lets_the_parts_save_what_they_have(config, monkeypatch):
    show = Follower._show

    def full(follower, what, news):
        if what == "evaluation":
            raise OSError(28, "No space left on device")
        show(follower, what, news)

    monkeypatch.setattr(Follower, "_show", full)
    long = config(**SHORT | {"envs": "retain/Recall:400000"}, processes=2, name="left")
    with pytest.raises(Stopped, match=r"No space left on device; saved all members in .*members;"):
        train(long)
    folders = parts_of("left", long.logdir, None)
    assert all(0 < load_newest(folder)[1]["clock"]["step"] < 400_000 for folder in folders)


def test_words_of_a_part_say_whose_they_are(config, caplog):
    follower = Follower(new_run(config(**SHORT, processes=2)), Screen())
    with caplog.at_level(logging.WARNING, "retain"):
        follower.take(1, "distill did nothing")
    assert caplog.messages == ["members 2-2: distill did nothing"]


def test_auto_takes_a_process_for_each_core_and_keeps_what_it_chose(config):
    for seeds in (1, 64):
        run = new_run(config(**SHORT | {"seeds": seeds}, processes="auto"))
        assert run.config.processes == min(seeds, cores())
        assert load_config(run.folder).processes == run.config.processes


def test_several_processes_do_not_share_a_gpu(config, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    with pytest.raises(ValueError, match="2 processes cannot share a GPU: leave them out"):
        new_run(config(**SHORT, processes=2, device="cuda"))
    assert not (tmp_path / "runs").exists()


def test_a_checkpoint_of_some_members_is_not_taken_for_that_of_all(config):
    run = new_run(config(**SHORT, processes=2))
    with pytest.raises(
        ValueError, match=r"is of some members: give their folder, as .*members/0-1"
    ):
        evaluate_run(str(run.folder), "", run.folder / "any", 1, 0)
