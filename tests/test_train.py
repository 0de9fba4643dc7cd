"""train.py as it is typed: what it prints, its exit codes, and what a signal does.

Mistakes one by one are in tests/experiments/test_command.py, resuming in test_resume.py.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TINY = [
    *("--envs", "retain/Recall:80,retain/RecallShifted:80", "--hidden", "16", "--num-envs", "4"),
    *("--batch-size", "16", "--learning-starts", "40", "--eval-interval", "0"),
    *("--eval-episodes", "1", "--checkpoint-interval", "40", "--n-step", "1"),
]


def start(*words: object) -> subprocess.Popen:
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, ROOT / "train.py", *map(str, words)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True)


def test_training_prints_its_outcome_and_leaves_its_files(tmp_path):
    with start(*TINY, "--logdir", tmp_path, "--name", "mine") as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0
    assert re.fullmatch(
        r"1 member needs [\d.]+ MB: .*\nenvironments, \d at a time: .*\n"
        r"updates run eagerly on 1 thread: 80 do not win back .*\n",
        err,
    ), err
    assert "after retain/RecallShifted" in out
    assert not re.search(r"[\x1b\r]", out)
    names = {path.name for path in (tmp_path / "mine").iterdir()}
    (events,) = (name for name in names if name.startswith("events.out.tfevents."))
    assert names == {events, "config.json", "summary.json", "checkpoints"}


@pytest.mark.slow
def test_ctrl_c_saves_the_members_of_every_process(tmp_path):
    words = [*TINY, "--envs", "retain/Recall:1000000", "--logdir", tmp_path, "--name", "mine"]
    folder = tmp_path / "mine"
    with start(*words, "--compile", "off", "--seeds", "2", "--processes", "2") as process:
        parts = [folder / "members" / name / "checkpoints" for name in ("0-0", "1-1")]
        started = ("?" * 10 + ".safetensors",) * 2
        while not all(map(list, map(Path.glob, parts, started))) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (3, "")
    said = (
        r"stopping after this step; Ctrl-C again stops at once\nstopped: after [\d,]+ steps; saved "
    )
    then = f"{folder}/members; go on with: python train.py --resume {folder}\n"
    assert re.search(said + re.escape(then), err), err


def test_ctrl_c_saves_the_run_and_says_how_to_go_on(tmp_path):
    words = [*TINY, "--envs", "retain/Recall:1000000", "--logdir", tmp_path, "--name", "mine"]
    words += ["--compile", "off"]
    with start(*words) as process:
        checkpoints = tmp_path / "mine" / "checkpoints"
        while not list(checkpoints.glob("?" * 10 + ".safetensors")) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (3, "")
    said = re.fullmatch(
        r"1 member needs .*\nenvironments, .*\nupdates run eagerly on 1 thread\n"
        r"stopping after this step; Ctrl-C again stops at once\n"
        rf"stopped: after [\d,]+ steps; saved (\S+); go on with: python train.py --resume "
        rf"{tmp_path / 'mine'}\n",
        err,
    )
    assert said, err
    assert Path(said[1]).is_file()
