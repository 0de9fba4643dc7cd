"""train(config): what a run's result depends on, where it goes, and how it ends early."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments import Config, Stopped, train
from experiments.checkpoint import checkpoint_files, load_checkpoint, save_checkpoint
from experiments.folders import find_run

pytestmark = pytest.mark.usefixtures("no_pictures")
SHORT = {"envs": "retain/Recall:80,retain/RecallShifted:80", "eval_interval": 0}


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder, and every folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


# --- what the result depends on -------------------------------------------------------------------


def test_the_same_configuration_gives_the_same_bits_and_another_seed_others(
    config, same_outcome, last_state
):
    one, two, other = (train(config(**SHORT, seed=seed)) for seed in (3, 3, 4))
    same_outcome(one, two)
    theta, another = (last_state(r.folder)["agent"]["learner"]["theta"] for r in (one, other))
    assert not np.array_equal(theta, another)


def test_evaluating_logging_and_saving_change_nothing_of_what_is_learned(
    config, last_state, same_bits
):
    envs = "retain/Recall:200,retain/RecallShifted:200"
    seldom = train(config(envs=envs, eval_interval=0, log_interval=9999, checkpoint_interval=0))
    often = train(config(envs=envs, eval_interval=50, log_interval=10, checkpoint_interval=30))
    states = [last_state(result.folder) for result in (seldom, often)]
    curves = [state["history"].pop("curve") for state in states]
    assert [len(curve) for curve in curves] == [0, 6]  # 3 within each stage
    for state in states:
        del state["history"]["pending"], state["config"]
    same_bits(*states)


@pytest.mark.parametrize("changes", [{}, {"noisy": True, "exploratory_steps": 20, "n_step": 3}])
def test_a_member_among_three_equals_the_same_member_alone(config, last_state, changes):
    """The same random draws, the same rows; weights to rounding, as sums differ in their order."""
    changes = changes | {"envs": "retain/Recall:240,retain/RecallShifted:160"}
    together = train(config(seeds=3, seed=5, **changes))
    alone = train(config(seeds=1, seed=6, **changes))
    assert together.scores[1].tolist() == alone.scores[0].tolist()
    among, single = (last_state(result.folder) for result in (together, alone))
    for name, values in single["memories"]["0"].items():
        if name.endswith("column.q"):
            assert np.allclose(values, among["memories"]["1"][name], atol=1e-3, equal_nan=True)
        else:
            assert np.array_equal(values, among["memories"]["1"][name]), name
    assert sum(len(single["memories"]["0"][f"memory.{k}.column.state"]) for k in "01") == 80
    for name, values in single["agent"]["learner"].items():
        assert np.allclose(values[0], among["agent"]["learner"][name][1], atol=1e-3), name
    rngs = [state["agent"]["exploration"]["rngs"] for state in (among, single)]
    assert rngs[0][1] == rngs[1][0]
    assert rngs[0][0] != rngs[1][0]


def test_a_reset_waits_until_the_scores_of_the_task_before_it_are_taken(config):
    """Of the first task both score alike; a last task that was reset would score as untrained."""
    runs = [train(config(buffer="fifo", head="single", methods=m)) for m in ("none", "reset")]
    plain, control = (run.scores[0] for run in runs)
    assert np.array_equal(control[:2], plain[:2])
    assert control[1, 0] > control[0, 0]
    assert control[2, 1] > control[0, 1]


def test_members_are_unlike_each_other(config, last_state):
    state = last_state(train(config(**SHORT, seeds=2)).folder)
    first, second = state["agent"]["learner"]["theta"]
    assert not np.isclose(first, second).any()
    actions = [state["memories"][member]["memory.0.column.action"] for member in "01"]
    assert not np.array_equal(*actions)


def test_a_task_seen_again_has_one_column_and_two_rows(config):
    result = train(
        config(envs="retain/Recall:80,retain/RecallShifted:80,retain/Recall:80", seeds=2)
    )
    assert result.scores.shape == (2, 4, 2)
    assert result.summary["tasks"] == ["retain/Recall", "retain/RecallShifted"]
    assert result.summary["stages"] == ["retain/Recall", "retain/RecallShifted", "retain/Recall"]
    assert result.summary["environment_steps"] == 2 * 240


# --- where a run goes -----------------------------------------------------------------------------


def test_runs_without_a_name_get_folders_of_their_own(config, tmp_path):
    folders = [train(config(**SHORT)).folder for _ in range(3)]
    assert len(set(folders)) == 3
    assert {folder.parent for folder in folders} == {tmp_path / "runs"}


def test_a_run_that_exists_is_refused_and_left_as_it_was(config):
    folder = train(config(**SHORT, name="mine")).folder
    before = contents(folder)
    with pytest.raises(ValueError, match=r"exists: go on with --resume .*mine, replace it with"):
        train(config(**SHORT, name="mine"))
    assert contents(folder) == before


def test_overwrite_replaces_a_run(config):
    folder = train(config(**SHORT, name="mine", checkpoint_interval=20)).folder
    (folder / "report.html").touch()
    again = train(config(**SHORT, name="mine", overwrite=True, checkpoint_interval=0))
    assert again.folder == folder
    assert not (folder / "report.html").exists()
    assert len(checkpoint_files(folder)) == 4  # the beginning, and after 0, 1 and 2 stages
    assert len(list(folder.glob("events.*"))) == 1


def test_overwrite_replaces_nothing_before_the_new_run_can_begin(config):
    folder = train(config(**SHORT, name="mine")).folder
    before = contents(folder)
    with pytest.raises(ValueError, match="unknown environment"):
        train(config(envs="NoSuchThing", name="mine", overwrite=True))
    assert contents(folder) == before


def test_overwrite_replaces_no_folder_that_is_not_a_run(config, tmp_path):
    thesis = tmp_path / "runs" / "thesis" / "chapter1.tex"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("All happy families")
    with pytest.raises(ValueError, match="is no run"):
        train(config(**SHORT, name="thesis", overwrite=True))
    assert thesis.read_text() == "All happy families"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "/a", "a/"])
def test_a_name_is_one_folder_s_name(config, name):
    with pytest.raises(ValueError, match="name must be one folder's name"):
        config(name=name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"envs": "CartPol"}, "unknown environment 'CartPol'; did you mean CartPole"),
        ({"envs": "Pendulum"}, "only Discrete is supported"),
        ({"envs": "CartPole:0"}, "CartPole: steps must be at least 1, got 0"),
        ({"network": "cnn"}, "shows vectors: use --network mlp"),
    ],
)
def test_what_cannot_work_leaves_no_folder(config, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        train(config(**changes))
    assert not (tmp_path / "runs").exists()


# --- resuming what cannot be resumed --------------------------------------------------------------


def test_a_run_that_does_not_exist_cannot_be_resumed(tmp_path):
    with pytest.raises(ValueError, match=r"no run at nothing or .*runs/nothing"):
        train(Config(resume="nothing", logdir=str(tmp_path / "runs")))
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 2}, "started with seeds=1, not 2"),
        ({"hidden": (8,)}, r"started with hidden=\(16,\), not \(8,\)"),
        ({"envs": "CartPole"}, "started with envs=retain/Recall:80,"),
    ],
)
def test_a_run_is_not_resumed_under_another_configuration(config, stopped_at, changes, message):
    stopped_at(config(**SHORT, name="mine"), 40)
    folder = find_run("mine", config().logdir)
    before = contents(folder)
    with pytest.raises(ValueError, match=message):
        train(config(**SHORT | changes, resume="mine"))
    assert contents(folder) == before


def test_a_run_whose_checkpoints_are_all_damaged_is_left_as_it_was(config):
    folder = train(config(**SHORT, name="mine")).folder
    for path in checkpoint_files(folder):
        path.write_bytes(path.read_bytes()[:-3])
    before = contents(folder)
    with pytest.raises(ValueError, match=r"after-stage-2\.safetensors is not a whole checkpoint"):
        train(Config(resume=str(folder)))
    assert contents(folder) == before


@pytest.mark.parametrize("part", ["nstep", "envs", "clock", "history"])
def test_a_checkpoint_that_lacks_a_part_is_of_another_version(config, stopped_at, part):
    stopped_at(config(**SHORT, name="mine"), 40)
    path = checkpoint_files(find_run("mine", config().logdir))[-1]
    state = load_checkpoint(path)
    del state[part]
    save_checkpoint(path, state)
    with pytest.raises(ValueError, match=f"is of another version: '{part}'"):
        train(Config(resume="mine", logdir=config().logdir))


def test_a_checkpoint_of_another_network_is_refused(config, stopped_at):
    stopped_at(config(**SHORT, name="mine"), 40)
    stopped_at(config(**SHORT, name="other", hidden=(8,)), 40)
    mine, other = (checkpoint_files(find_run(n, config().logdir))[-1] for n in ("mine", "other"))
    shutil.copy(other, mine)
    with pytest.raises(ValueError, match="of another configuration: its hidden is"):
        train(Config(resume="mine", logdir=config().logdir))


@pytest.mark.parametrize("text", ["{", "[]", '{"no_such_field": 1}', ""])
def test_a_damaged_config_file_is_named(config, stopped_at, text):
    stopped_at(config(**SHORT, name="mine"), 40)
    (find_run("mine", config().logdir) / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json"):
        train(Config(resume="mine", logdir=config().logdir))


# --- numbers that are none ------------------------------------------------------------------------


@pytest.mark.parametrize(("what", "named"), [("reward", "a reward"), ("obs", "an observation")])
def test_a_run_with_a_number_that_is_none_stops_before_it_and_can_go_on(
    config, faulty, last_state, what, named
):
    faulty.what = what  # 30 steps of random play and 30 of evaluation come before training
    with pytest.raises(Stopped, match=f"NaNAfter gave {named} that is NaN or infinite; saved"):
        train(config(envs="faulty:NaNAfter-v0:200", name="mine"))
    state = last_state(find_run("mine", config().logdir))
    assert state["clock"]["step"] == 40  # the 11th step of 4 environments was the bad one
    assert len(state["memories"]["0"]["recent.column.reward"]) == 40
    faulty.after = 10**9
    result = train(Config(resume="mine", logdir=config().logdir))
    assert result.summary["environment_steps"] == 200
    assert np.isfinite(result.scores).all()


def test_a_loss_that_is_no_number_stops_the_run(config):
    with pytest.raises(Stopped, match=r"became NaN or infinite in member \[0\]: .*; saved"):
        train(config(learning_rate=1e30, learning_rate_end=1e30, name="mine"))
    with pytest.raises(Stopped):  # it can be resumed, though that does not help here
        train(Config(resume="mine", logdir=config().logdir))


@pytest.mark.parametrize("after", [40, 90])
def test_an_evaluation_that_gives_no_number_stops_the_run_and_is_made_up_for(config, faulty, after):
    """Before training, and at the switch after it."""
    faulty.after = after
    with pytest.raises(Stopped, match="NaNAfter gave NaN or infinity in evaluation; saved"):
        train(config(envs="faulty:NaNAfter-v0:20,retain/Recall:20", name="mine"))
    faulty.after = 10**9
    result = train(Config(resume="mine", logdir=config().logdir))
    assert result.scores.shape == (1, 3, 2)
    assert np.isfinite(result.scores).all()
