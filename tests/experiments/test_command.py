"""The command lines: what they print, and that a mistake is one line and loses nothing."""

import errno
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard.summary.writer.record_writer import RecordWriter

from experiments import Config, train
from experiments.checkpoint import checkpoint_files, load_checkpoint, save_checkpoint
from experiments.command import EvaluateOptions, evaluate_command, run_command, train_command
from experiments.run import Run

SHORT = {"envs": "retain/Recall:80,retain/RecallShifted:80", "eval_interval": 0}
COMMANDS = {"train": train_command, "evaluate": evaluate_command}


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder, and every folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def call(monkeypatch, capfd):
    """Runs a command as the shell would: its exit code, standard output and standard error."""

    def run(command: str, *words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"{command}.py", *map(str, words)])
        capfd.readouterr()
        try:
            code = run_command(COMMANDS[command])
        except SystemExit as left:
            code = left.code
        return code, *capfd.readouterr()

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory, toy) -> Path:
    """A run that is done, to be copied or only read."""
    logdir = tmp_path_factory.mktemp("finished")
    return train(Config(**toy | SHORT | {"logdir": str(logdir), "name": "mine"})).folder


@pytest.fixture
def mine(finished, tmp_path) -> Path:
    """A copy of that run which may be damaged."""
    return shutil.copytree(finished, tmp_path / "runs" / "mine")


def assert_one_line(answer: tuple[int, str, str], *words: str) -> None:
    code, out, err = answer
    assert (code, out) == (2, ""), err
    assert err.startswith("error: ") and err.count("\n") == 1, err
    assert all(word in err for word in words), err


# --- mistakes -------------------------------------------------------------------------------------

MISTAKES = {
    "unknown environment": ({"envs": "CartPol"}, "did you mean CartPole"),
    "unknown version": ({"envs": "CartPole-v7"}, "CartPole-v1"),
    "no environment": ({"envs": "CartPole,,Acrobot"}, "remove the extra comma"),
    "missing package": ({"envs": "no_such_package:Thing-v0"}, "no_such_package"),
    "a path for a package": ({"envs": "./mine:Thing-v0"}, "'./mine' is no module's name"),
    "continuous actions": ({"envs": "Pendulum"}, "Pendulum", "only Discrete is supported"),
    "zero steps": ({"steps": 0}, "steps must be at least 1, got 0"),
    "negative steps": ({"steps": -5}, "steps must be at least 1, got -5"),
    "zero steps of a task": ({"envs": "CartPole:0"}, "CartPole: steps must be at least 1, got 0"),
    "unknown buffer": ({"buffer": "reservior"}, "unknown buffer 'reservior'"),
    "unknown method": ({"methods": "distil"}, "did you mean distill"),
    "a method in capitals": ({"methods": "EWC"}, "did you mean ewc"),
    "no option": ({"methods": "ewc:"}, "'ewc:' is no option: write ewc:option=value"),
    "too many rows": ({"methods": "ogd:rows=9000000000000000000"}, "ogd:rows must be at most"),
    "methods at odds": ({"methods": "agem,gem"}, "agem and gem cannot work together"),
    "a method without its task": (
        {"methods": "lwf", "task_identity": "hidden", "head": "single"},
        "lwf must be told the task",
    ),
    "unknown network": ({"network": "transformer"}, "known are mlp, cnn"),
    "unknown agent": ({"agent": "ppo"}, "known are dqn, sb3-dqn, sb3-qrdqn"),
    "a memory in vain": ({"buffer": "fifo", "memory": "gss"}, "memory=gss does nothing with"),
    "rows in vain": ({"buffer": "fifo", "rows_per_task": 50}, "rows_per_task=50 does nothing"),
    "infinite priorities": ({"buffer": "rank", "priority_alpha": "inf"}, "alpha inf", "finite"),
    "what SB3 cannot do": ({"agent": "sb3-dqn", "noisy": True}, "sb3-dqn has no noisy=True"),
    "capacity": ({"capacity": 8}, "capacity 8 cannot hold one batch of 16"),
    "images and mlp": ({"envs": "test/Pixels"}, "use --network cnn"),
    "vectors and cnn": ({"network": "cnn"}, "use --network mlp"),
    "hidden with heads": ({"task_identity": "hidden"}, "needs head=single"),
    "a name that is a path": ({"name": "../mine"}, "name must be one folder's name"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_written(call, flags, tmp_path, mistake):
    changes, *words = MISTAKES[mistake]
    answer = call("train", *flags(logdir=tmp_path / "runs", **changes))
    assert_one_line(answer, *words)
    assert contents(tmp_path) == {}


def test_a_guest_whose_library_is_missing_is_one_line(call, flags, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    answer = call("train", *flags(logdir=tmp_path / "runs", agent="sb3-dqn"))
    assert_one_line(answer, "sb3-dqn needs Stable-Baselines3: pip install 'retain-rl[sb3]'")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("memory", ["hybrid", "reservoir"])
@pytest.mark.parametrize("agent", ["sb3-dqn", "sb3-qrdqn"])
@pytest.mark.usefixtures("no_pictures")
def test_a_guest_runs_as_the_flags_are_and_says_what_it_cannot_do(
    call, flags, tmp_path, caplog, agent, memory
):
    changes = SHORT | {"agent": agent, "buffer": memory, "n_step": 3, "atoms": 5}
    code, _, err = call("train", *flags(logdir=tmp_path / "runs", **changes))
    assert code == 0, err
    assert f"{agent} cannot do otherwise than: " in caplog.text
    assert "methods=none, head=single" in caplog.text
    (folder,) = (tmp_path / "runs").iterdir()
    assert agent in folder.name
    config = json.loads((folder / "summary.json").read_text())["config"]
    assert (config["agent"], config["methods"], config["double"]) == (agent, "none", False)
    assert call("evaluate", folder, "--episodes", 2)[0] == 0


@pytest.mark.parametrize("words", [["--stesp", "3"], ["--steps", "many"], ["--head", "two"]])
def test_what_cannot_be_parsed_exits_with_2(call, tmp_path, words):
    code, _, err = call("train", *words, "--logdir", tmp_path / "runs")
    assert code == 2
    assert "Traceback" not in err
    assert contents(tmp_path) == {}


def test_a_run_that_exists_is_refused(call, flags, mine):
    before = contents(mine.parent)
    answer = call("train", *flags(logdir=mine.parent, name="mine", **SHORT))
    assert_one_line(answer, f"{mine} exists", f"--resume {mine}", "--overwrite")
    assert contents(mine.parent) == before


def test_a_missing_run_is_not_resumed(call, tmp_path):
    assert_one_line(call("train", "--resume", "nothing", "--logdir", tmp_path), "no run at nothing")
    assert contents(tmp_path) == {}


def test_a_run_is_not_resumed_with_other_options(call, mine):
    before = contents(mine)
    answer = call("train", "--resume", mine, "--num-envs", "5")
    assert_one_line(answer, "was started with num_envs=4, not 5")
    assert contents(mine) == before


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_a_run_whose_checkpoints_are_all_damaged_is_refused(call, mine, command):
    for path in checkpoint_files(mine):
        path.write_bytes(path.read_bytes()[:-1])
    before = contents(mine)
    words = ["--resume", mine] if command == "train" else [mine]
    assert_one_line(call(command, *words), "0000000160-after-stage-2.safetensors is not a whole")
    assert contents(mine) == before


def test_a_missing_extra_for_an_environment_is_named(call, flags, tmp_path, monkeypatch):
    for name in [n for n in sys.modules if n.startswith("gymnasium.envs.box2d")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "Box2D", None)
    answer = call("train", *flags(envs="LunarLander", logdir=tmp_path / "runs"))
    assert_one_line(answer, "LunarLander needs Box2D: pip install 'retain-rl[box2d]'")
    assert contents(tmp_path) == {}


def test_words_of_several_lines_become_one(capfd):
    def command():
        raise ValueError("Box([0.\n  1.]\n  (2,)) is\ttoo wide")

    assert run_command(command) == 2
    assert capfd.readouterr().err == "error: Box([0. 1.] (2,)) is too wide\n"


def test_a_file_that_cannot_be_written_is_one_line(call, flags, tmp_path):
    (tmp_path / "runs").write_text("a file, not a folder")
    answer = call("train", *flags(logdir=tmp_path / "runs", name="mine", **SHORT))
    assert_one_line(answer, str(tmp_path / "runs"))


@pytest.mark.usefixtures("no_pictures")
def test_a_disk_that_tensorboard_fills_exits_with_3_and_says_how_to_go_on(
    call, flags, tmp_path, monkeypatch
):
    """Its file is written by a thread of its own, and refuses to be closed as well."""
    write, folder = RecordWriter.write, tmp_path / "runs" / "mine"

    def full(writer, data):
        if b"learner/loss" in data:
            raise OSError(28, "No space left on device")
        write(writer, data)

    with monkeypatch.context() as patch:
        patch.setattr(RecordWriter, "write", full)
        code, out, err = call("train", *flags(logdir=folder.parent, name="mine", **SHORT))
    assert (code, out) == (3, "")
    *_, closing, last = err.splitlines()
    assert closing == "TensorBoard lacks the last points: [Errno 28] No space left on device"
    assert last == (
        "stopped: [Errno 28] No space left on device; "
        f"go on with: python train.py --resume {folder}"
    )
    assert "Traceback" not in err
    assert call("train", "--resume", folder)[0] == 0


def test_a_number_that_is_none_exits_with_3_and_says_how_to_go_on(call, flags, faulty, tmp_path):
    words = flags(envs="faulty:NaNAfter-v0:200", logdir=tmp_path / "runs", name="mine")
    code, out, err = call("train", *words)
    *before, err = err.splitlines(keepends=True)
    assert (code, out, len(before)) == (3, "", 3)
    assert err.startswith("stopped: NaNAfter gave a reward that is NaN or infinite; saved ")
    assert err.endswith(f"go on with: python train.py --resume {tmp_path / 'runs' / 'mine'}\n")
    faulty.after = 10**9
    assert call("train", "--resume", tmp_path / "runs" / "mine")[0] == 0


def test_a_number_that_is_none_on_a_full_disk_exits_with_3_too(
    call, flags, faulty, tmp_path, monkeypatch
):
    def fails_later(run):
        if run.clock.total:
            raise OSError(errno.ENOSPC, "No space left on device")
        return save(run)

    folder, save = tmp_path / "runs" / "mine", Run.save
    monkeypatch.setattr(Run, "save", fails_later)
    words = flags(envs="faulty:NaNAfter-v0:200", logdir=folder.parent, name="mine")
    code, _, err = call("train", *words, "--checkpoint-interval", "0")
    assert code == 3
    assert err.splitlines()[-1] == (
        "stopped: NaNAfter gave a reward that is NaN or infinite; not saved: "
        f"[Errno 28] No space left on device; go on with: python train.py --resume {folder}"
    )


@pytest.mark.parametrize(
    ("changes", "culprit", "step"),
    [
        ({"learning_rate": 1e30}, "td_loss", 48),
        ({"methods": "l2_init,medqn:strength=1e38"}, "the gradient with medqn", 48),
        ({"methods": "distill,parseval:scale=1e30"}, "parseval_penalty", 40),
        ({"methods": "l2_init,si:damping=1e-300"}, "si.importance", 80),
    ],
    ids=["learning rate", "loss", "penalty", "at the switch"],
)
@pytest.mark.usefixtures("no_pictures")
def test_a_loss_that_is_no_number_exits_with_3_and_keeps_the_last_good_state(
    call, flags, tmp_path, changes, culprit, step
):
    folder = tmp_path / "runs" / "mine"
    code, out, err = call("train", *flags(logdir=folder.parent, name="mine", **SHORT | changes))
    *before, last = err.splitlines()
    assert (code, out, len(before)) == (3, "", 3), err
    assert re.match(rf"stopped: {re.escape(culprit)} became NaN or infinite ", last), last
    assert "start a new run with a smaller --learning-rate or strength; saved " in last
    assert last.endswith(f"go on with: python train.py --resume {folder}")
    saved = Path(re.search(r"saved (\S+);", last)[1])
    assert saved.name == f"{step:010d}.safetensors"
    learner = load_checkpoint(saved)["agent"]["learner"]
    assert all(np.isfinite(array).all() for array in learner.values())
    assert call("evaluate", folder, "--checkpoint", saved, "--episodes", 1)[0] == 0
    assert call("train", "--resume", folder)[0] == 3


def test_evaluating_a_task_that_gives_no_number_is_one_line(call, config, faulty):
    faulty.after = 10**9
    folder = train(config(envs="faulty:NaNAfter-v0:40", eval_interval=0)).folder
    faulty.after = 0
    assert_one_line(call("evaluate", folder), "NaNAfter gave NaN or infinity in evaluation")


def test_a_second_ctrl_c_leaves_no_traceback(capfd):
    def command():
        raise KeyboardInterrupt

    assert run_command(command) == 130
    err = capfd.readouterr().err
    assert err.startswith("stopped at once") and err.count("\n") == 1 and "--resume" in err


# --- help -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "options"), [("train", Config), ("evaluate", EvaluateOptions)])
def test_help_lists_every_flag_with_its_meaning(call, command, options, meanings):
    code, out, _ = call(command, "--help")
    assert code == 0
    text = " ".join(re.sub("[│╭╮╰╯─]", " ", out).split())
    for name, meaning in meanings(options).items():
        flag = "STR" if name == "run" else f"--{name.replace('_', '-')}"
        assert re.search(rf"(?<!\S){flag}[ ,]", text), name
        assert meaning in text, name


# --- what they print ------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_pictures")
def test_train_prints_its_outcome_and_nothing_that_only_a_terminal_understands(
    call, flags, tmp_path
):
    code, out, err = call("train", *flags(logdir=tmp_path / "runs", **SHORT))
    assert code == 0
    memory, envs, updates = err.splitlines()
    assert envs == "environments, 4 at a time: retain/Recall sync, retain/RecallShifted sync"
    assert memory.startswith("1 member needs ") and updates.startswith("updates run eagerly on 1")
    assert not re.search(r"[\x1b\r\b]", out)
    assert "after retain/RecallShifted" in out
    (folder,) = (tmp_path / "runs").iterdir()
    assert out.splitlines()[-1].endswith(f"files in {folder}")


def table(out: str) -> dict[str, list[float]]:
    lines = [line.split("│")[1:-1] for line in out.splitlines() if line.startswith("│")]
    return {cells[0].strip(): [float(cell) for cell in cells[1:]] for cells in lines}


def test_evaluate_prints_a_score_per_task(call, finished):
    before = contents(finished)
    code, out, err = call("evaluate", finished, "--episodes", 2)
    assert (code, err) == (0, "")
    assert "greedy return after 160 steps" in out
    assert set(table(out)) == {"retain/Recall", "retain/RecallShifted"}
    assert all(0 <= value <= 10 for row in table(out).values() for value in row)
    assert contents(finished) == before


def test_evaluate_gives_the_same_for_the_same_seed(call, config):
    """CartPole, since every one of its episodes has another return."""
    folder = train(config(envs="CartPole:40", eval_interval=0)).folder
    one, two, other = (call("evaluate", folder, "--seed", seed)[1] for seed in (1, 1, 2))
    assert one == two
    assert table(one) != table(other)


@pytest.mark.usefixtures("no_pictures")
def test_evaluate_shows_every_member_and_their_mean(call, config):
    result = train(config(**SHORT, seeds=3))
    scores = table(call("evaluate", result.folder, "--episodes", 2)[1])
    for mean, *members in scores.values():
        assert len(members) == 3
        assert mean == pytest.approx(np.mean(members), abs=0.1)


def test_evaluate_scores_the_checkpoint_that_is_asked_for(call, finished):
    first = checkpoint_files(finished)[0]
    out = call("evaluate", finished, "--checkpoint", first)[1]
    assert "greedy return after 0 steps" in out


def test_evaluate_says_that_it_scores_an_older_checkpoint_than_the_newest(call, mine):
    *_, older, newest = checkpoint_files(mine)
    newest.write_bytes(newest.read_bytes()[:100])
    code, out, err = call("evaluate", mine, "--episodes", 1)
    assert code == 0 and "greedy return after 160 steps" not in out
    assert err.startswith(f"{newest} is not a whole checkpoint") and err.count("\n") == 1
    assert err.endswith(f"; this is of {older}\n")


def test_evaluate_finds_a_run_by_its_name(call, finished):
    code, out, _ = call("evaluate", "mine", "--logdir", finished.parent, "--episodes", 1)
    assert code == 0 and "after 160 steps" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--episodes", 0], "episodes must be at least 1, got 0"),
        (["--seed", -1], "seed must not be negative, got -1"),
        (["--checkpoint", "nothing.safetensors"], "nothing.safetensors is not a whole checkpoint"),
        (["--video", "--episodes", 1], "retain/Recall cannot be drawn"),
    ],
)
def test_evaluate_refuses_what_cannot_be_done(call, finished, words, said):
    code, _, err = call("evaluate", finished, *words)
    assert code == 2
    assert err.startswith("error: ") and err.count("\n") == 1 and said in err, err


def test_evaluate_refuses_a_run_that_is_not_there(call, tmp_path):
    assert_one_line(call("evaluate", "nothing", "--logdir", tmp_path), "no run at nothing")


def test_evaluate_refuses_a_checkpoint_of_another_version(call, mine):
    path = checkpoint_files(mine)[-1]
    state = load_checkpoint(path)
    del state["agent"]["learner"]
    save_checkpoint(path, state)
    assert_one_line(call("evaluate", mine), "of another version: no 'learner'")
