"""What a person sees: a bar on a terminal, nothing elsewhere, and an outcome in words."""

import io

import pytest
from rich.console import Console

from experiments import train
from experiments.screen import Screen, print_outcome, sentence

SHORT = {"envs": "retain/Recall:80,retain/RecallShifted:80", "log_interval": 40}
pytestmark = pytest.mark.usefixtures("no_pictures")


def console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=120, force_terminal=terminal)


def text_of(console: Console) -> str:
    return console.file.getvalue()


def entry(**changes):
    return {
        "task": "A",
        "learned": 480.0,
        "now": 120.0,
        "kept": 0.25,
        "most_lost_while_learning": "B",
        "lost_then": 360.0,
    } | changes


def test_a_terminal_shows_the_task_the_speed_and_the_last_returns(config):
    shown = console(terminal=True)
    train(config(**SHORT), Screen(shown))
    for word in ("retain/RecallShifted (2/2)", "160/160", "steps/s", "retain/Recall "):
        assert word in text_of(shown)


def test_where_there_is_no_terminal_nothing_is_shown(config, capfd):
    shown = console(terminal=False)
    train(config(**SHORT), Screen(shown))
    train(config(**SHORT))
    assert text_of(shown) == ""
    assert capfd.readouterr() == ("", "")


def test_the_outcome_is_the_scores_what_was_forgotten_the_metrics_and_the_folder():
    summary = {
        "tasks": ["A", "B"],
        "stages": ["A", "B"],
        "scores": [[[20, -500], [470, -400], [110, -90]], [[30, -500], [490, -300], [130, -110]]],
        "forgotten": [entry()],
        "memory": {"idle": "no task had more than its 500 rows"},
        "reference": {"one": [475.0, -100.0], "one_is": ["solved", "best seen"]},
        "metrics": {
            "average_performance": {"mean": 0.5, "low": 0.375, "high": 0.625},
            "retention": {"mean": 0.25, "low": None, "high": None},
            "forward_transfer": {"mean": None, "low": None, "high": None},
        },
        "steps_per_second": 1234.5,
        "wall_seconds": 61.7,
        "compiled": True,
    }
    shown = console(terminal=False)
    print_outcome(shown, summary, "runs/mine")
    text = text_of(shown)
    assert "\x1b" not in text
    lines = [line.split("│")[1:-1] for line in text.splitlines() if line.startswith("│")]
    means = {cells[0].strip(): [float(c.split("±")[0]) for c in cells[1:]] for cells in lines}
    assert means == {
        "before training": [25, -500],
        "after A": [480, -350],
        "after B": [120, -100],
    }
    assert text.splitlines()[-6:] == [
        "A: 480.0 when learned, 120.0 now (25% kept): lost 360.0 while learning B",
        "memory: no task had more than its 500 rows",
        " average performance  0.500 ± 0.125",
        "           retention  0.250",
        "(on a scale from 0, a random policy, to 1: A 475 (solved), B -100 (best seen))",
        "1,234 steps/s in 62 s, compiled; files in runs/mine",
    ]
    summary["reference"]["one"][1] = float("nan")
    print_outcome(shown, summary, "runs/mine")
    assert "A 475 (solved), B never better than random)" in text_of(shown)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "A: 480.0 when learned, 120.0 now (25% kept): lost 360.0 while learning B"),
        ({"now": 479.0, "kept": 0.998, "lost_then": 1.0}, "(100% kept): not forgotten"),
        ({"now": 490.0, "kept": 1.02, "lost_then": -10.0}, "(102% kept): not forgotten"),
        ({"kept": None}, "120.0 now: lost 360.0 while learning B"),
        ({"now": 0.0, "kept": 0.0, "lost_then": 480.0}, "(0% kept): lost 480.0 while learning B"),
    ],
)
def test_the_sentence_says_whether_a_task_was_forgotten_and_when(changes, words):
    assert sentence(entry(**changes)).endswith(words)
