"""Members in processes of their own: the same run, in parts that stop and go on together."""

import json
import logging
import multiprocessing
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from experiments import Config, Stopped, train
from experiments.checkpoint import checkpoint_files, load_newest
from experiments.folders import load_config, new_run, resumed_run
from experiments.monitor import Monitor
from experiments.parallel import training
from experiments.parallel.processes import Part, messages
from experiments.parallel.reports import Reporter
from experiments.parallel.training import Follower
from experiments.parallel.worker import Ended, work
from experiments.playback import evaluate_run, parts_of
from experiments.run import Run
from experiments.screen import Screen
from experiments.threads import cores

LOG = logging.getLogger("retain")
ROOT = Path(training.__file__).parents[2]
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
    parts, take, started = [], Follower.take, training.started

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
    monkeypatch.setattr(training, "started", see)
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
    assert str(stopped.value) == (  # it saved nothing more, so nobody says so
        "the process of members 0-1 ended by signal 9; "
        f"go on with: python train.py --resume {folder}"
    )
    for _ in range(2):  # the second time, nothing is left to do
        resumed = train(Config(resume=str(folder)))
        assert resumed.summary["scores"] == whole.summary["scores"]
        assert resumed.summary["evaluations"] == whole.summary["evaluations"]


def test_a_process_that_dies_while_it_speaks_is_named():
    """A message begins with its length, as a C int of the network's order."""
    theirs, mine = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=os._exit, args=(7,))
    process.start()
    os.write(theirs.fileno(), (100).to_bytes(4, "big") + b"half of it")
    theirs.close()
    (end,) = messages([Part("0-1", process, mine)])
    assert end == (0, Ended("the process of members 0-1 ended with exit code 7", saved=False))


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
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    ours, theirs = pty.openpty()
    command = [sys.executable, str(ROOT / "train.py"), *words]
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
    done = run_script(tmp_path, f"{TOP}OPTIONS = {options}\n{first}{script}")
    assert (done.returncode == 0) == (said == "")
    assert said in done.stderr
    assert len(list((tmp_path / "runs").iterdir())) == 1


def run_script(tmp_path, text: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "script.py").write_text(text)
    command, env = [sys.executable, tmp_path / "script.py"], os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_a_full_disk_here_lets_the_parts_save_what_they_have(config, monkeypatch):
    show = Follower._show

    def full(follower, what, news):
        if what == "evaluation":
            raise OSError(28, "No space left on device")
        show(follower, what, news)

    monkeypatch.setattr(Follower, "_show", full)
    long = config(**SHORT | {"envs": "retain/Recall:400000"}, processes=2, name="left")
    with pytest.raises(Stopped, match=r"No space left on device; saved .*/left/members; go"):
        train(long)
    folders = parts_of("left", long.logdir, None)
    assert all(0 < load_newest(folder)[1]["clock"]["step"] < 400_000 for folder in folders)


def test_what_cannot_be_shown_is_told_whatever_the_error_says(config, monkeypatch):
    def full(follower, number, message):
        raise MemoryError

    monkeypatch.setattr(Follower, "take", full)
    follower = Follower(new_run(config(**SHORT, processes=2)), Screen())
    assert follower.try_take(0, "words") == Ended("MemoryError")


HELD = """
from pathlib import Path
from experiments import Config
from experiments.folders import new_run
from experiments.parallel.processes import started

if __name__ == "__main__":
    with started(new_run(Config(**OPTIONS))) as parts:
        for part in parts:
            text = Path(f"/proc/{part.process.pid}/status").read_text()
            print(text.partition("SigBlk:")[2].split()[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_no_part_sees_ctrl_c_while_it_starts(tmp_path, config):
    """In a process of its own: the first start of several processes differs from later ones."""
    options = vars(config(**SHORT, processes=3))
    done = run_script(tmp_path, f"OPTIONS = {options}\n{HELD}")
    assert done.returncode == 0, done.stderr
    blocked = [int(mask, 16) >> (signal.SIGINT - 1) & 1 for mask in done.stdout.split()]
    assert blocked == [1, 1, 1]


@pytest.fixture
def left(config):
    """A run of two parts that was left after its first stage: the folder of each."""
    run = new_run(config(**SHORT, processes=2, name="left"))
    for part in run.parts:
        own = new_run(replace(part, logdir=str(run.folder / "members")))
        monitor = Monitor(own, Reporter(lambda _: None, False), Screen())
        with pytest.raises(Stopped):
            monitor.after_step = stopping_at(monitor, 200)
            monitor.train()
    return [run.folder / "members" / str(part.name) for part in run.parts]


def stopping_at(monitor, step):
    def after_step(run):
        if run.clock.total >= step:
            monitor.stop()
        Monitor.after_step(monitor, run)

    return after_step


@pytest.mark.slow
def test_a_part_goes_on_from_an_older_checkpoint_and_says_so(left, caplog):
    newest = checkpoint_files(left[1])[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING, "retain"):
        train(Config(resume=str(left[0].parents[1])))
    (said,) = [words for words in caplog.messages if newest.name in words]
    assert said.startswith("members 2-2: ")
    assert f"going on from {load_newest(left[1])[0].parent}" in said


@pytest.mark.slow
def test_a_part_without_a_whole_checkpoint_is_refused_by_its_name(left):
    for path in checkpoint_files(left[1]):
        path.write_bytes(b"")
    with pytest.raises(Stopped) as stopped:
        train(Config(resume=str(left[0].parents[1])))
    assert f"{checkpoint_files(left[1])[-1]} is not a whole checkpoint" in str(stopped.value)
    assert "registers" not in str(stopped.value)


def test_a_run_whose_members_are_gone_does_not_begin_anew(config):
    folder = new_run(config(**SHORT, processes=2)).folder
    (folder / "members" / ".DS_Store").touch()
    resumed_run(Config(resume=str(folder)))  # other files there do not matter
    shutil.rmtree(folder / "members")
    with pytest.raises(ValueError, match="members is gone: there is nothing to go on from"):
        train(Config(resume=str(folder)))


def test_auto_on_resume_is_whatever_the_run_has(config):
    folder = str(new_run(config(**SHORT, processes=2)).folder)
    assert resumed_run(Config(resume=folder, processes="auto")).config.processes == 2
    with pytest.raises(ValueError, match="was started with processes=2, not 3"):
        resumed_run(Config(resume=folder, processes=3))


def test_what_steps_environments_is_said_of_each_process(config):
    run = new_run(config(**SHORT | {"seeds": 5}, processes=2, num_envs=4))
    assert run.stepped_by.startswith("environments, 12 at a time: ")


@pytest.fixture
def signals():
    """What a part's process does with signals is undone; it is this one here."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers = LOG.handlers[:]
    yield
    LOG.handlers[:] = handlers
    for number, handler in before.items():
        signal.signal(number, handler)


def last_word(config, tmp_path) -> Ended:
    theirs, mine = multiprocessing.Pipe(duplex=False)
    listener = Thread(target=lambda: heard.extend(iter(theirs.recv, None)))
    heard: list = []
    listener.start()
    work(config, tmp_path / "members", mine, first=True)
    mine.send(None)
    listener.join()
    return heard[-1]


def test_a_part_that_cannot_be_made_says_so_whatever_the_error_says(
    config, tmp_path, monkeypatch, signals
):
    def full(run):
        raise MemoryError

    monkeypatch.setattr(Run, "save", full)
    assert last_word(config(**SHORT, name="0-2"), tmp_path) == Ended("MemoryError", saved=False)


@pytest.mark.parametrize("fits", [0, 1, 99])
def test_a_part_that_could_not_save_says_so(config, tmp_path, monkeypatch, signals, fits):
    """Not even its beginning, or not what came after that."""
    saved, save = [], Run.save

    def full(run):
        if len(saved) == fits:
            raise OSError(28, "No space left on device")
        saved.append(save(run))
        return saved[-1]

    monkeypatch.setattr(Run, "save", full)
    word = last_word(config(**SHORT, name="0-2"), tmp_path)
    assert word == (
        Ended() if fits == 99 else Ended("[Errno 28] No space left on device", saved=False)
    )


def test_a_part_whose_starter_is_gone_ends_without_a_traceback(config, tmp_path, capfd, signals):
    theirs, mine = multiprocessing.Pipe(duplex=False)
    theirs.close()
    work(config(**SHORT, name="0-2"), tmp_path / "members", mine, first=True)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize("log_interval", [1, 10**6])
def test_parts_save_and_end_when_their_starter_is_killed(tmp_path, flags, log_interval):
    """Whether they tell of every step, or would not have told of anything for long."""
    rare = {"log_interval": log_interval, "eval_interval": 0, "checkpoint_interval": 0, "seeds": 2}
    options = rare | {"envs": "retain/Recall:4000000", "processes": 2, "name": "left"}
    words = flags(**options, logdir=str(tmp_path))
    command = [sys.executable, str(ROOT / "train.py"), *words]
    folders = [tmp_path / "left" / "members" / name for name in ("0-0", "1-1")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as starter:
        wait_until(lambda: all(len(checkpoint_files(folder)) == 2 for folder in folders))
        children = Path(f"/proc/{starter.pid}/task/{starter.pid}/children").read_text().split()
        time.sleep(0.5)
        starter.kill()
    wait_until(lambda: all(is_over(pid) for pid in children))
    assert all(load_newest(folder)[1]["clock"]["step"] > 0 for folder in folders)


def is_over(pid: str) -> bool:
    """Gone, or only waiting for somebody to ask how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({"eval_interval": 50}, r"its eval_interval is 150, here it is 50"),
        ({"envs": "retain/Recall:160,retain/RecallShifted:90"}, r"its envs is .*:120, here it is"),
        ({"processes": 3}, "0-1 is of another configuration: here members are in 0-0, 1-1, 2-2"),
        ({"seeds": 2}, "0-1 is of another configuration: here members are in 0-0, 1-1"),
    ],
)
def test_settings_changed_on_disk_are_refused(left, changed, refused):
    file = left[0].parents[1] / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    with pytest.raises((ValueError, Stopped), match=refused):
        train(Config(resume=str(file.parent)))


@pytest.mark.slow
def test_a_run_that_was_killed_before_it_wrote_its_last_row_writes_it(config):
    whole = train(config(**SHORT, processes=2))
    summary = json.loads((whole.folder / "summary.json").read_text())
    for part in summary["scores"]:
        del part[-1]
    (whole.folder / "summary.json").write_text(json.dumps(summary | {"metrics": {}}))
    train(Config(resume=str(whole.folder)))
    again = json.loads((whole.folder / "summary.json").read_text())
    assert again["scores"] == whole.summary["scores"]
    assert again["metrics"] == json.loads(json.dumps(whole.summary["metrics"])) != {}


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
