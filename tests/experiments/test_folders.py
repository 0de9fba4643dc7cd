import json
import shutil
from pathlib import Path

import pytest
import torch

from experiments import Config, train
from experiments.checkpoint import checkpoint_files, load_checkpoint, load_newest, save_checkpoint
from experiments.folders import find_run, idle_parts, new_run
from experiments.playback import evaluate_run
from experiments.run import Run

pytestmark = pytest.mark.usefixtures("no_pictures")
SHORT = {"envs": "retain/Recall:80,retain/RecallShifted:80"}


def start(config):
    run = new_run(config)
    run.close()
    return run.folder


def test_a_run_made_while_another_one_starts_is_not_touched(config, monkeypatch):
    """Both look for a free folder before either has one."""
    first, init = [], Run.__init__

    def init_after_another(run, *arguments):
        init(run, *arguments)
        if not first:
            first.append(None)
            first[0] = start(config(**SHORT))

    monkeypatch.setattr(Run, "__init__", init_after_another)
    second = start(config(**SHORT))
    assert second != first[0]
    assert checkpoint_files(first[0])


def test_a_name_taken_in_the_meantime_is_refused(config, monkeypatch):
    init, mine = Run.__init__, Path(config().logdir) / "mine"

    def init_and_take(run, *arguments):
        init(run, *arguments)
        mine.mkdir(parents=True)

    monkeypatch.setattr(Run, "__init__", init_and_take)
    with pytest.raises(ValueError, match="mine was just made by another run"):
        new_run(config(**SHORT, name="mine"))
    assert not list(mine.iterdir())


def test_a_new_run_can_be_resumed_before_anything_was_evaluated(config, same_outcome):
    whole = train(config(**SHORT, name="whole"))
    folder = start(config(**SHORT, name="left"))
    same_outcome(train(Config(resume=str(folder))), whole)


def test_a_long_sequence_has_a_name_that_fits(config):
    folder = start(config(envs=",".join(["retain/Recall:80", "retain/RecallShifted:80"] * 20)))
    assert len(folder.name) < 110


def test_spaces_in_the_list_of_environments_are_not_in_the_name(config):
    assert " " not in start(config(envs="retain/Recall:80, retain/RecallShifted:80")).name


def test_a_checkpoint_of_other_settings_is_refused(config):
    mine, other = (start(config(**SHORT, name=name, seed=s)) for name, s in (("a", 0), ("b", 7)))
    shutil.copy(checkpoint_files(other)[-1], checkpoint_files(mine)[-1])
    with pytest.raises(ValueError, match="of another configuration: its seed is 7, here it is 0"):
        train(Config(resume=str(mine)))


def test_settings_changed_on_disk_are_refused(config):
    folder = start(config(**SHORT))
    values = json.loads((folder / "config.json").read_text()) | {"learning_rate": 0.5}
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"its learning_rate is 0\.01, here it is 0\.5"):
        train(Config(resume=str(folder)))


@pytest.mark.parametrize("told", [{}, {"processes": 1}])
def test_a_run_whose_checkpoints_tell_of_its_processes_or_not_goes_on(config, same_outcome, told):
    """Those of some versions tell, those of versions that knew of none do not."""
    whole = train(config(**SHORT, name="whole"))
    old = train(config(**SHORT, name="old")).folder
    values = json.loads((old / "config.json").read_text())
    del values["processes"]
    (old / "config.json").write_text(json.dumps(values | told))
    for path in checkpoint_files(old):
        state = load_checkpoint(path)
        del state["config"]["processes"]
        save_checkpoint(path, state | {"config": state["config"] | told})
    for path in checkpoint_files(old)[2:]:
        path.unlink()
    assert evaluate_run(str(old), "", None, 1, 0).returns.shape == (1, 2)
    same_outcome(train(Config(resume=str(old))), whole)


def test_a_configuration_that_is_no_object_is_refused(config):
    folder = start(config(**SHORT))
    (folder / "config.json").write_text("[]")
    with pytest.raises(ValueError, match=r"config\.json must hold an object, not \[\]"):
        train(Config(resume=str(folder)))


def test_a_configuration_that_is_no_text_is_named(config):
    folder = start(config(**SHORT))
    (folder / "config.json").write_bytes(b"\x87")
    with pytest.raises(ValueError, match=r"config\.json cannot be read: 'utf-8' codec"):
        train(Config(resume=str(folder)))


def test_going_on_from_an_older_checkpoint_is_said(config, caplog, same_outcome):
    whole = train(config(**SHORT, name="whole", checkpoint_interval=40))
    newest = checkpoint_files(whole.folder)[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    before = load_newest(whole.folder)[0]
    train(Config(resume=str(whole.folder)))
    assert newest.name in caplog.text
    assert f"going on from {before}" in caplog.text


@pytest.mark.parametrize("flags", [{"name": "new"}, {"overwrite": True}])
def test_a_name_or_overwrite_beside_resume_is_refused(config, flags):
    folder = start(config(**SHORT))
    with pytest.raises(ValueError, match="leave --name and --overwrite out"):
        train(Config(resume=str(folder), **flags))


def test_threads_are_the_runs_own_on_resume(config):
    folder = start(config(**SHORT, threads=2))
    with pytest.raises(ValueError, match="started with threads=2, not 3"):
        train(Config(resume=str(folder), threads=3))


def test_no_name_to_resume_is_a_mistake_and_no_new_run(tmp_path):
    with pytest.raises(ValueError, match="no run at"):
        find_run("", str(tmp_path))


@pytest.mark.parametrize("ring", ["fifo", "prioritized", "rank"])
def test_every_method_that_needs_old_rows_is_named_where_there_are_none(make_run, ring):
    fifo = {"buffer": ring, "methods": "distill,clear,lwf"}
    named = [words.split()[0] for words in idle_parts(make_run(**fifo))]
    assert named == ["distill", "clear"]
    assert not list(idle_parts(make_run(**fifo, clear_at_switch=False)))
    assert not list(idle_parts(make_run(buffer=ring, methods="none")))
    assert not list(idle_parts(make_run(buffer="hybrid", methods="distill")))


def test_a_new_run_says_that_its_precision_is_slow_here(config, caplog, monkeypatch):
    monkeypatch.setattr("experiments.folders.slow_precision", lambda *given: f"slow: {given}")
    new_run(config(precision="bfloat16")).close()
    assert "slow: ('bfloat16', 'cpu')" in caplog.messages


def test_a_new_run_says_which_method_can_do_nothing(config, caplog):
    start(config(**SHORT, buffer="fifo"))
    assert "distill does nothing with --buffer fifo, which keeps no rows" in caplog.text


def test_a_task_that_is_over_before_learning_starts_is_named(make_run):
    envs = "retain/Recall:97,retain/RecallShifted:96,retain/Recall:97,retain/RecallShifted:96"
    changes = {"envs": envs, "num_envs": 4}
    (words,) = idle_parts(make_run(**changes, learning_starts=97))  # 97 steps are 100 of 4 at once
    assert words == (
        "retain/RecallShifted is not learned: its 96 steps end before learning starts, at 97: "
        "give it more --steps, or fewer --learning-starts"
    )
    assert not list(idle_parts(make_run(**changes, learning_starts=96)))


@pytest.fixture
def without_gpu(config, monkeypatch):
    """Two runs stopped at one place, of which one says that it was on a GPU, which is gone."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folders = [start(config(**SHORT, device="cpu", name=name)) for name in ("here", "gone")]
    path, state, _ = load_newest(folders[1])
    save_checkpoint(path, state | {"config": state["config"] | {"device": "cuda"}})
    values = json.loads((folders[1] / "config.json").read_text())
    (folders[1] / "config.json").write_text(json.dumps(values | {"device": "cuda"}))
    return folders


def test_a_run_of_a_gpu_is_evaluated_where_there_is_none(without_gpu):
    here, gone = (evaluate_run(str(folder), "", None, 2, 0) for folder in without_gpu)
    assert (here.returns == gone.returns).all()


def test_a_run_of_a_gpu_goes_on_where_there_is_none_and_says_so(without_gpu, same_outcome, caplog):
    here, gone = (train(Config(resume=str(folder))) for folder in without_gpu)
    same_outcome(gone, here)
    assert caplog.text.count("was made on cuda; the run goes on on cpu") == 1
