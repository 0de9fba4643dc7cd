"""summary.json: whole and valid at any time, and right about what was forgotten, when."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from experiments import Stopped, train
from experiments.run import Run
from experiments.summary import forgotten, references

SHORT = {"envs": "retain/Recall:80,retain/RecallShifted:80", "eval_interval": 0}


def no_json(word: str):
    raise AssertionError(f"{word} is no JSON")


def read(folder) -> dict:
    return json.loads((folder / "summary.json").read_text(), parse_constant=no_json)


@pytest.fixture
def learned():
    """Three tasks learned in the order 0, 1, 2; a random policy has 0, 10 and -100."""
    return SimpleNamespace(
        sequence=SimpleNamespace(names=["A", "B", "C"]),
        history=SimpleNamespace(random=[0.0, 10.0, -100.0]),
    )


# --- what was forgotten ---------------------------------------------------------------------------


def test_what_was_forgotten_names_the_stage_that_took_most(learned):
    scores = np.array([[[0, 10, -100], [80, 10, -100], [70, 50, -90], [20, 40, -50]]], float)
    assert forgotten(learned, scores, [0, 1, 2]) == [
        {
            "task": "A",
            "learned": 80.0,
            "now": 20.0,
            "kept": 0.25,
            "most_lost_while_learning": "C",  # 50 of the 60
            "lost_then": 50.0,
        },
        {
            "task": "B",
            "learned": 50.0,
            "now": 40.0,
            "kept": 0.75,  # above random
            "most_lost_while_learning": "C",
            "lost_then": 10.0,
        },
    ]


def test_what_was_forgotten_is_the_mean_over_members(learned):
    scores = np.array([[[0, 0], [10, 0], [2, 9]], [[0, 0], [30, 0], [10, 9]]], float)
    (entry,) = forgotten(learned, scores, [0, 1])
    assert (entry["learned"], entry["now"], entry["kept"]) == (20, 6, 0.3)


def test_what_a_revisit_brought_back_counts_as_learned_then(learned):
    scores = np.array([[[0, 0], [90, 0], [10, 60], [80, 30], [70, 50]]], float)
    (entry,) = forgotten(learned, scores, [0, 1, 0, 1])
    assert (entry["task"], entry["learned"], entry["now"]) == ("A", 80, 70)
    assert (entry["most_lost_while_learning"], entry["lost_then"]) == ("B", 10)


def test_nothing_is_forgotten_by_the_first_stage(learned):
    assert forgotten(learned, np.zeros((1, 1, 2)), []) == []
    assert forgotten(learned, np.zeros((1, 2, 2)), [0]) == []


def test_of_a_task_never_learned_no_share_is_kept(learned):
    (entry,) = forgotten(learned, np.array([[[0, 0], [0, 0], [5, 9]]], float), [0, 1])
    assert entry["kept"] is None


# --- references -----------------------------------------------------------------------------------


def test_the_reference_is_what_counts_as_solved_or_else_the_best_seen(make_run):
    run = make_run(envs="CartPole:80,retain/Recall:80,retain/RecallShifted:80")
    run.history.random = [20.0, 2.5, 2.5]
    run.history.scores = [[[9.0, 1, 2], [9, 1, 2]], [[9, 9, 2], [9, 7, 1]], [[9, 4, 2], [9, 4, 2]]]
    values, sources = references(run)
    assert values == [475, 8, pytest.approx(np.nan, nan_ok=True)]
    assert sources == ["solved", "best seen", "best seen"]


# --- the file -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_pictures")
def test_the_summary_has_the_documented_fields(config):
    asked = SHORT | {"eval_interval": 40, "seeds": 2, "seed": 4}
    result = train(config(**asked))
    summary = read(result.folder)
    assert set(summary) == {
        *("version", "config", "tasks", "stages", "seeds", "scores", "evaluations", "reference"),
        *("metrics", "forgotten", "interference", "memory", "environment_steps"),
        *("gradient_steps", "compiled", "wall_seconds", "steps_per_second", "time_shares"),
        "peak_memory_bytes",
    }
    chosen = config(**asked, device="cpu", threads=1).to_json()  # `auto` is decided at the start
    assert summary["config"] == result.summary["config"] == chosen
    assert summary["tasks"] == ["retain/Recall", "retain/RecallShifted"]
    assert summary["seeds"] == [4, 5]
    assert np.shape(summary["scores"]) == (2, 3, 2)
    assert np.array_equal(summary["scores"], result.scores)
    curve = summary["evaluations"]
    assert curve["steps"] == [0, 40, 80, 120, 160]
    switches = np.array(curve["scores"])[[0, 2, 4]]
    assert np.array_equal(switches.swapaxes(0, 1), result.scores)
    assert set(summary["reference"]) == {"random", "single_task", "one", "one_is"}
    for value in summary["metrics"].values():
        assert set(value) == {"mean", "low", "high"}
    assert set(summary["metrics"]) == {
        *("average_performance", "forgetting", "forgetting_max", "retention"),
        *("backward_transfer", "forward_transfer"),
    }
    assert summary["environment_steps"] == 2 * 160
    assert summary["gradient_steps"] == 2 * 2 * 6  # 40, 48 ... 80 of each stage
    assert summary["steps_per_second"] == pytest.approx(320 / summary["wall_seconds"])
    assert summary["peak_memory_bytes"] > 50e6
    parts = {"acting", "stepping", "storing", "sampling", "learning", "evaluating", "other"}
    assert summary["time_shares"].keys() == parts
    assert min(summary["time_shares"].values()) > 0
    assert sum(summary["time_shares"].values()) == pytest.approx(1)


@pytest.mark.usefixtures("no_pictures")
def test_the_summary_is_valid_json_of_that_moment_after_each_stage(config, monkeypatch):
    found, save = [], Run.save

    def save_and_read(run):
        if run.history.scores:
            found.append(read(run.folder))
        return save(run)

    monkeypatch.setattr(Run, "save", save_and_read)
    train(config(**SHORT, checkpoint_interval=0))
    assert [len(summary["scores"][0]) for summary in found] == [1, 2, 3]
    assert [len(summary["stages"]) for summary in found] == [0, 1, 2]
    assert [summary["environment_steps"] for summary in found] == [0, 80, 160]
    assert [bool(summary["metrics"]) for summary in found] == [False, False, True]


@pytest.mark.usefixtures("no_pictures")
def test_a_summary_that_cannot_be_written_leaves_the_last_one(config, monkeypatch):
    replace = os.replace

    def fail(old, new):
        if Path(new).name == "summary.json" and Path(new).exists():
            raise OSError("disk full")
        replace(old, new)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(Stopped, match="disk full; go on with"):
        train(config(**SHORT, name="mine"))
    assert read(Path(config().logdir) / "mine")["environment_steps"] == 0


@pytest.mark.usefixtures("no_pictures")
def test_a_metric_without_a_number_is_null(config):
    result = train(config(envs="retain/Recall:40", eval_interval=0))
    assert read(result.folder)["metrics"]["forward_transfer"] == {
        "mean": None,
        "low": None,
        "high": None,
    }


@pytest.mark.usefixtures("no_pictures")
def test_a_run_that_learned_nothing_has_no_absurd_numbers(config):
    """Where no score is above random there is no scale to measure on."""
    result = train(config(**SHORT, learning_starts=1000))
    for value in result.metrics.values():
        assert value["mean"] is None or abs(value["mean"]) <= 100
    read(result.folder)
