"""A method that did nothing in a stage is named when the stage ends, with its figure and a cure."""

import pytest

from agents import METHODS, Method
from experiments import Config, train
from experiments.activity import figures_of, idle_methods
from experiments.loop import end_task, learn_task, start_task

pytestmark = pytest.mark.usefixtures("no_pictures")
SHORT = {"envs": "retain/Recall:120,retain/RecallShifted:120", "eval_interval": 0}


@pytest.fixture
def judged(make_run):
    """The lines about idle methods, stage by stage, of a run that is only trained."""

    def of(**changes) -> list[list[str]]:
        run, lines = make_run(**SHORT | changes), []
        for _ in run.sequence.stages:
            start_task(run)
            learn_task(run, lambda run: None)
            lines.append(list(idle_methods(run)))
            end_task(run)
        run.close()
        return lines

    return of


def said(caplog) -> list[str]:
    return [line.message for line in caplog.records if " did nothing while " in line.message]


def test_a_method_that_acts_is_not_named(judged):
    assert judged(methods="distill,lwf,medqn") == [[], []]


def test_without_rows_of_earlier_tasks_the_memory_is_named_as_the_cure(judged):
    line = (
        "distill did nothing while retain/RecallShifted was learned: its loss was 0 of the TD "
        "loss; raise its strength, give it rows of earlier tasks (--buffer hybrid, "
        "--memory-share), or leave it out"
    )
    assert judged(buffer="fifo", methods="distill") == [[], [line]]
    assert judged(memory_share=0.0, methods="distill") == [[], [line]]


def test_a_strength_that_is_too_small_is_named_with_the_figure(judged):
    _, (line,) = judged(methods="distill:strength=1e-7,lwf")
    assert line.startswith("distill did nothing while retain/RecallShifted was learned: its loss")
    assert line.endswith("of the TD loss; raise its strength, or leave it out")
    assert 0 < float(line.partition("its loss was ")[2].split()[0]) < 1e-4


def test_a_pull_that_moved_next_to_nothing_is_to_be_made_stronger(judged):
    _, (line,) = judged(methods="l2_init:strength=1e-9,distill")
    assert line.startswith("l2_init did nothing while retain/RecallShifted was learned: it moved")
    assert line.endswith("of what the updates did; raise its strength, or leave it out")


def test_a_rule_without_options_is_not_told_to_change_them(judged):
    _, (line,) = judged(methods="agem", memory_share=0.0)
    assert "of the updates; give it rows of earlier tasks (--buffer hybrid, --memory-share)" in line


def test_each_later_stage_is_judged_by_itself(judged):
    envs = "retain/Recall:80,retain/RecallShifted:80,retain/RecallSmall:80"
    first, *later = judged(envs=envs, buffer="fifo", methods="clear")
    assert first == []
    assert [line.split()[4] for (line,) in later] == ["retain/RecallShifted", "retain/RecallSmall"]


@pytest.mark.parametrize(
    ("moments", "figure"),
    [
        (
            {"gradient": lambda g, *_: g},
            "it changed the gradient of 0.0% of the updates; leave it out",
        ),
        (
            {"after_step": lambda theta, state, *_: (theta + 0, state)},
            "it moved the weights by 0 of",
        ),
        (
            {"penalty": lambda theta, *_: 0 * theta.sum()},
            "its penalty was 0 of the TD loss; leave it out",
        ),
    ],
    ids=["gradient rule", "after a step", "penalty"],
)
def test_a_rule_that_never_applies_is_named(judged, monkeypatch, moments, figure):
    monkeypatch.setitem(METHODS, "idle", lambda model: Method("idle", **moments))
    _, (line,) = judged(methods="idle,distill")
    assert line.startswith("idle did nothing while retain/RecallShifted was learned: ")
    assert figure in line


def test_a_method_that_only_measures_steps_is_not_named(judged, monkeypatch):
    measures = Method("watch", after_step=lambda theta, state, *_: (theta, state))
    monkeypatch.setitem(METHODS, "watch", lambda model: measures)
    assert judged(methods="watch,distill") == [[], []]


def test_a_rule_that_changes_some_of_the_updates_is_not_named(judged, monkeypatch):
    def rule(gradient, theta, state, batch):
        return gradient * (batch["reward"].sum() > 4)

    monkeypatch.setitem(METHODS, "seldom", lambda model: Method("seldom", gradient=rule))
    assert judged(methods="seldom") == [[], []]


def test_a_penalty_is_measured_against_the_td_loss_of_the_stage(make_run, monkeypatch):
    double = Method("double", penalty=lambda theta, *_: 3 + 0 * theta.sum())
    monkeypatch.setitem(METHODS, "double", lambda model: double)
    run, counts = make_run(**SHORT, methods="double"), []
    for _ in range(2):
        start_task(run)
        learn_task(run, lambda run: None)
        run.history.settle()
        total, count = run.history.acted["td_loss"]
        counts.append(count)
        assert figures_of(run, double) == {"penalty": pytest.approx(3 * count / total)}
        end_task(run)
    assert counts == [11, 11]  # (120 - 40) / 8 rounds, and the one at step 40
    run.close()


def test_a_resumed_run_says_what_the_whole_one_does(config, stopped_at, caplog):
    changes = {"buffer": "fifo", "methods": "medqn:strength=1e-7", "name": "mine"}
    train(config(**SHORT | changes))
    whole = said(caplog)
    stopped_at(config(**SHORT | changes, overwrite=True), 200)
    caplog.clear()
    train(Config(resume="mine", logdir=config().logdir))
    assert len(whole) == 1
    assert said(caplog) == whole
