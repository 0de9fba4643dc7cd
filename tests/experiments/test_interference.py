"""A run says how learning acts on earlier tasks, and is bit by bit the same as if it did not."""

import numpy as np
import pytest

from experiments import train
from experiments.interference import is_due, old_tasks, rows_of, watched
from experiments.loop import end_task, learn_task, start_task

pytestmark = pytest.mark.usefixtures("no_pictures")
SHORT = {
    "envs": "retain/Recall:80,retain/RecallShifted:80",
    "learning_starts": 16,
    "log_interval": 40,
    "eval_interval": 0,
    "eval_episodes": 1,
    "checkpoint_interval": 0,
    "interference_interval": 40,
}
OLD, NEW = "retain/Recall", "retain/RecallShifted"


@pytest.fixture
def second_stage(make_run):
    """A run in its second stage, of which it has stored some rows and not learned yet."""

    class Enough(Exception):
        pass

    def stop(run) -> None:
        if run.clock.stage == 1:
            raise Enough

    def make(**changes):
        run = make_run(**SHORT | changes)
        start_task(run)
        learn_task(run, stop)
        end_task(run)
        start_task(run)
        with pytest.raises(Enough):
            learn_task(run, stop)
        return run

    return make


def test_training_is_the_same_bit_by_bit_with_and_without(config, last_state, same_bits):
    changes = {"seeds": 2, "noisy": True, "methods": "distill,agem", "exploratory_steps": 20}
    states = []
    for interval in (0, 8):
        asked = SHORT | changes | {"interference_interval": interval, "name": f"every{interval}"}
        states.append(last_state(train(config(**asked)).folder))
    noted = [state["history"].pop("interference") for state in states]
    assert noted[0] == {}
    assert noted[1]["1/0"][0] == 9  # looks: at every round
    for state in states:
        del state["config"], state["history"]["looked"]
    same_bits(*states)


def test_it_is_shown_from_the_second_stage_on_once_an_interval(config, scalars):
    result = train(config(**SHORT))
    shown = {tag: found for tag, found in scalars(result.folder).items() if "interference" in tag}
    per_task = {f"interference/{what}/{OLD}" for what in ("cosine", "predicted", "measured")}
    layers = {f"interference/cosine_by_layer/{OLD}/{x}" for x in ("torso.layers.0", "advantage")}
    assert shown.keys() == per_task | layers
    for found in shown.values():
        assert [step for step, _ in found] == [120, 160]
    # Each task has a head of its own, so that in this layer nothing interferes.
    assert {value for _, value in shown[f"interference/cosine_by_layer/{OLD}/advantage"]} == {0}
    assert all(-1 <= value <= 1 for _, value in shown[f"interference/cosine/{OLD}"])


def test_the_summary_has_the_means_of_each_stage_and_pair(config, scalars):
    result = train(config(**SHORT | {"seeds": 2, "log_interval": 8}))
    (found,) = result.summary["interference"]
    assert {k: found[k] for k in ("stage", "learning", "old", "looks")} == {
        "stage": 1,
        "learning": NEW,
        "old": OLD,
        "looks": 3,  # at the stage's first round, after 96 steps, and at 120 and 160
    }
    for what in ("cosine", "predicted", "measured"):
        shown = [value for _, value in scalars(result.folder)[f"interference/{what}/{OLD}"]]
        assert found[what] == pytest.approx(np.mean(shown), rel=1e-4)
        assert found[what] != 0


def test_in_a_longer_sequence_each_stage_has_its_pairs(config):
    tasks = "retain/Recall:80,retain/RecallShifted:80,retain/Recall:80"
    found = train(config(**SHORT | {"envs": tasks})).summary["interference"]
    assert [(each["stage"], each["learning"], each["old"]) for each in found] == [
        (1, NEW, OLD),
        (2, OLD, NEW),
    ]


def test_without_rows_of_earlier_tasks_there_is_nothing_to_see(config, scalars):
    result = train(config(**SHORT | {"buffer": "fifo", "methods": "none"}))
    assert result.summary["interference"] == []
    assert not [tag for tag in scalars(result.folder) if "interference" in tag]


@pytest.mark.parametrize(
    ("stage", "total", "looked", "interval", "due"),
    [
        (1, 1_008, 0, 1_000, True),
        (1, 1_992, 1_008, 1_000, False),
        (1, 2_000, 1_008, 1_000, True),
        (1, 9_000, 1_008, 1_000, True),
        (0, 9_000, 0, 1_000, False),
        (1, 9_000, 0, 0, False),
    ],
)
def test_it_is_due_at_the_first_round_of_each_interval(
    stage, total, looked, interval, due, make_run
):
    run = make_run(**SHORT | {"interference_interval": interval})
    run.clock.stage, run.clock.before, run.history.looked = stage, total, looked
    assert is_due(run) is due


def test_a_round_that_changes_nothing_is_measured_as_nothing(second_stage):
    run = second_stage(seeds=2)
    with watched(run):
        pass
    looks, cosine, predicted, measured = run.history.interference["1/0"]
    assert (looks, predicted, measured) == (1, 0, 0)
    assert cosine != 0
    run.close()


def test_a_round_along_the_old_tasks_gradient_is_seen_to_harm_it(second_stage):
    run = second_stage()
    assert old_tasks(run) == [0]
    gradient = run.agent.outlook(rows_of(run, [1, 0]), 2).gradients[:, 1]
    with watched(run):
        run.agent.state["theta"] = run.agent.state["theta"] + 1e-2 * gradient
    _, _, predicted, measured = run.history.interference["1/0"]
    assert predicted == pytest.approx(1e-2 * float(gradient.square().sum()), rel=1e-3)
    assert measured == pytest.approx(predicted, rel=0.2)
    run.close()
