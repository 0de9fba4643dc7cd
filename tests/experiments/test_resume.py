"""A run that was stopped and resumed ends bit for bit as one that never stopped."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tensorboard.summary.writer.record_writer import RecordWriter

from experiments import Config, Stopped, train
from experiments.run import Run

pytestmark = pytest.mark.usefixtures("no_pictures")
ROOT = Path(__file__).parents[2]
ENV = os.environ | {"OMP_NUM_THREADS": "1"}

# Steps, logs (50), evaluations (70) and checkpoints (60) fall on different steps, so that there
# is always something that was noted and not yet logged; episodes last 10 steps of 4 environments.
SHORT = {
    "envs": "retain/Recall:160,retain/RecallShifted:160",
    "learning_starts": 16,
    "log_interval": 50,
    "eval_interval": 70,
    "checkpoint_interval": 60,
    "eval_episodes": 2,
    "n_step": 3,
}
VARIANTS = {
    "hybrid": {},
    "two members": {"seeds": 2, "exploratory_steps": 20},
    "fifo, carried over": {"buffer": "fifo", "methods": "none", "clear_at_switch": False},
    "noisy": {"noisy": True, "n_step": 1},
    "unlike spaces": {
        "envs": "CartPole:160,MountainCar:160",
        "eval_episodes": 1,
        "eval_interval": 130,
        "eval_interval_episodes": 1,
    },
    "watched": {"interference_interval": 30, "seeds": 2, "methods": "distill,agem"},
    "one span": {
        "restart_schedules": False,
        "reset_optimizer": True,
        "target_rate": 1.0,
        "target_update_interval": 7,
        "learning_starts": 0,
    },
    "SB3's DQN": {"agent": "sb3-dqn", "seeds": 2, "target_update_interval": 3},
    "SB3's QRDQN": {"agent": "sb3-qrdqn", "atoms": 5},
    "coreset of features": {
        "memory": "k_center",
        "coreset_features": "penultimate",
        "rows_per_task": 16,
        "recent_kind": "prioritized",
        "priority_alpha": 0.9,
    },
    "revisit": {
        "envs": "retain/Recall:80,retain/RecallShifted:80,retain/Recall:80",
        "memory": "episodes",
        "rows_per_task": 20,
    },
}
EVERYWHERE = (pytest.param("two members", marks=pytest.mark.slow), "one span")


@pytest.fixture
def changes(variant):
    return SHORT | VARIANTS[variant]


def test_a_run_whose_calls_are_recorded_goes_on_with_the_same_bits(
    config, stopped_at, same_outcome, recording
):
    whole = train(config(name="whole"))
    stopped_at(config(name="stopped"), 404)
    same_outcome(train(config(resume="stopped")), whole)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_stopped_again_and_again_ends_as_one_that_never_stopped(
    changes, config, stopped_at, same_outcome
):
    whole = train(config(name="whole", **changes))
    # Mid-episode, at a checkpoint, between checkpoints, at the last step of a stage and of all.
    asked, last = config(name="stopped", **changes), whole.summary["environment_steps"]
    for step in (28, 60, 96, 160, 164, 200, last // asked.seeds):
        stopped_at(asked, step)
        asked = Config(resume=str(whole.folder.parent / "stopped"))
    same_outcome(train(asked), whole)


@pytest.mark.parametrize("variant", EVERYWHERE)
def test_a_run_that_died_after_any_checkpoint_ends_as_one_that_never_stopped(
    changes, config, same_outcome, monkeypatch, tmp_path
):
    save, left = Run.save, []

    def save_and_copy(run):
        path = save(run)
        left.append(shutil.copytree(run.folder, tmp_path / "left" / path.stem))
        return path

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", save_and_copy)
        whole = train(config(**changes))
    assert len(left) == 9  # the beginning, 0, 60, 120, after stage 1, 180, 240, 300, after stage 2
    for folder in left:
        same_outcome(train(Config(resume=str(folder))), whole)


def test_what_a_dead_run_wrote_after_its_last_checkpoint_is_as_if_never_written(
    config, looking, same_outcome, tmp_path
):
    left = {step: tmp_path / str(step) for step in (28, 72, 160, 172, 320)}

    def copy(monitor):
        if (step := monitor.run.clock.total) in left:
            monitor.watcher.flush()
            shutil.copytree(monitor.run.folder, left[step])

    with looking(copy):
        whole = train(config(**SHORT))
    for folder in left.values():
        same_outcome(train(Config(resume=str(folder))), whole)


def test_what_was_logged_is_on_disk_before_the_checkpoint_that_comes_after_it(
    config, scalars, stopped_at, monkeypatch, tmp_path
):
    write, save, left = RecordWriter.write, Run.save, []

    def write_slowly(writer, data):
        time.sleep(0.01)
        write(writer, data)

    def save_and_copy(run):
        left.append(shutil.copytree(run.folder, tmp_path / str(len(left))))
        return save(run)

    monkeypatch.setattr(RecordWriter, "write", write_slowly)
    monkeypatch.setattr(Run, "save", save_and_copy)
    stopped_at(config(**SHORT | {"log_interval": 60}), 60)
    last_to_be_logged = scalars(left[-1])["memory/age_max"]
    assert [step for step, _ in last_to_be_logged] == [60]


def test_resuming_a_finished_run_changes_nothing(config, same_outcome, tmp_path):
    whole = train(config(**SHORT))
    copy = shutil.copytree(whole.folder, tmp_path / "copy")
    same_outcome(train(Config(resume=str(copy))), whole)


def kill_at_a_random_moment(words: list[str], checkpoints: Path) -> None:
    """Starts train.py, waits for the first checkpoint within a stage, and kills -9 soon after."""
    with subprocess.Popen([sys.executable, ROOT / "train.py", *words], env=ENV) as process:
        while not list(checkpoints.glob("?" * 10 + ".safetensors")) and process.poll() is None:
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.3))
        process.kill()
    assert process.returncode == -signal.SIGKILL
    time.sleep(1)  # event files of one second would be read in the order of their process ids


@pytest.mark.slow
def test_a_run_killed_at_a_random_moment_ends_as_one_that_never_stopped(
    config, flags, same_outcome, tmp_path
):
    changes = SHORT | {"envs": "retain/Recall:300,retain/RecallShifted:300"}
    folder = tmp_path / "runs" / "killed"
    words = flags(**changes, name="killed", logdir=folder.parent)
    kill_at_a_random_moment(words, folder / "checkpoints")
    same_outcome(train(Config(resume=str(folder))), train(config(**changes, name="whole")))


def test_signals_mean_again_what_they_meant_before(config, stopped_at):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    stopped_at(config(**SHORT), 60, signal.SIGTERM)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_the_message_says_what_is_saved_and_how_to_go_on(config, stopped_at):
    folder = Path(config().logdir) / "mine"
    message = stopped_at(config(**SHORT, name="mine"), 68)
    assert message.startswith("after 68 steps; ")
    assert f"saved {folder / 'checkpoints' / '0000000068.safetensors'}" in message
    assert message.endswith(f"python train.py --resume {folder}")


def test_of_the_checkpoints_between_switches_only_the_newest_two_stay(config):
    folder = train(config(**SHORT)).folder / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == [
        "0000000000-after-stage-0.safetensors",
        "0000000160-after-stage-1.safetensors",
        "0000000240.safetensors",
        "0000000300.safetensors",
        "0000000320-after-stage-2.safetensors",
    ]


def test_a_run_goes_on_from_the_newest_whole_checkpoint(config, stopped_at, same_outcome):
    whole = train(config(**SHORT, name="whole"))
    stopped_at(config(**SHORT, name="damaged"), 140)
    folder = whole.folder.parent / "damaged"
    newest = folder / "checkpoints" / "0000000140.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    same_outcome(train(Config(resume=str(folder))), whole)


def test_a_run_is_resumed_by_its_name_in_the_folder_of_runs(config, stopped_at):
    asked = config(**SHORT, name="mine")
    stopped_at(asked, 60)
    result = train(Config(resume="mine", logdir=asked.logdir))
    assert result.folder == Path(asked.logdir) / "mine"
    assert result.summary["environment_steps"] == 320


def test_a_flag_that_repeats_the_run_s_own_choice_is_no_difference(config, stopped_at):
    asked = config(**SHORT, name="mine")
    stopped_at(asked, 60)
    train(config(**SHORT, resume="mine"))


@pytest.mark.parametrize("what", ["reward", "observation"])
def test_a_step_that_failed_is_taken_again_as_it_was(what, config, faulty, same_outcome):
    """Its actions were drawn before it failed: drawn anew they would be others."""
    options = {"envs": "faulty:NaNAfter-v0:200", "eval_interval": 0, "noisy": True, "n_step": 3}
    options |= {"epsilon_end": 0.5, "exploratory_steps": 10}
    faulty.what, faulty.after = what, 10**9
    whole = train(config(**options, name="whole"))
    faulty.steps, faulty.after = 0, 150
    with pytest.raises(Stopped, match="that is NaN or infinite"):
        train(config(**options, name="failed"))
    faulty.after = 10**9
    same_outcome(train(Config(resume=str(whole.folder.with_name("failed")))), whole)
