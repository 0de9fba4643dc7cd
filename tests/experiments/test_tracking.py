"""TensorBoard: which tags there are, what they say, and at which step."""

import re
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from experiments import Config, train
from experiments.tracking import (
    Tracker,
    forgetting_now,
    interference_charts,
    row_names,
)

PICTURES = {"score_matrix", "learning_curves"}
TASKS = ("retain/Recall", "retain/RecallShifted")
METRICS = (
    *("average_performance", "forgetting", "forgetting_max", "retention"),
    *("backward_transfer", "forward_transfer"),
)


@pytest.fixture(scope="module")
def tracked(tmp_path_factory, toy):
    """The toy run, and its events."""
    result = train(Config(**toy | {"logdir": str(tmp_path_factory.mktemp("tracked")), "seed": 1}))
    all_of = {"scalars": 0, "images": 0, "histograms": 0}
    events = EventAccumulator(str(result.folder), size_guidance=all_of)
    return result, events.Reload()


def points(events, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_the_tags_are_the_documented_ones(tracked):
    result, events = tracked
    per_task = ("eval/return", "train/return", "forgetting", "memory/share", "memory/coverage")
    wanted = {f"{tag}/{task}" for tag in per_task for task in TASKS}
    assert set(events.Tags()["scalars"]) == wanted | {
        *("learner/loss", "learner/td_loss", "learner/distill_loss", "learner/td_error"),
        *("learner/q", "learner/action_gap", "learner/gradient_norm"),
        *("schedule/epsilon", "schedule/learning_rate", "speed/steps_per_second"),
        *("memory/rows", "memory/age_min", "memory/age_median", "memory/age_max", "task/stage"),
        *("memory/duplicates", "memory/effective_share"),
        *("time/acting", "time/stepping", "time/storing", "time/sampling", "time/learning"),
        *("time/evaluating", "time/other"),
        *(f"hparam/{name}" for name in METRICS if result.metrics[name]["mean"] is not None),
    }
    assert set(events.Tags()["images"]) == PICTURES
    assert "configuration/text_summary" in events.Tags()["tensors"]


@pytest.mark.usefixtures("no_pictures")
def test_the_table_in_the_docs_has_every_tag_and_no_other(config):
    methods = "distill,l2:step=loss,ewc,agem"
    folder = train(config(methods=methods, interference_interval=100, seeds=2)).folder
    tags = EventAccumulator(str(folder)).Reload().Tags()
    page = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text()
    table = page.partition("| tag | what |\n|---|---|\n")[2].partition("\n\n")[0]
    documented = re.findall(r"`(.+?)`", " ".join(row.split("|")[1] for row in table.splitlines()))
    patterns = [re.sub("[A-Z]+", ".+", re.escape(tag)) for tag in documented]
    texts = [tag.removesuffix("/text_summary") for tag in tags["tensors"] if "/" in tag]
    shown = [*tags["scalars"], *tags["histograms"], *texts, *PICTURES]
    assert [tag for tag in shown if not any(re.fullmatch(p, tag) for p in patterns)] == []
    assert [p for p in patterns if not any(re.fullmatch(p, tag) for tag in shown)] == []


def test_the_step_of_every_point_is_the_environment_step_over_all_tasks(tracked):
    _, events = tracked
    logged = [100, 200, 300, 400, 500, 600, 700, 800]
    assert [step for step, _ in points(events, "learner/loss")] == logged
    assert points(events, "task/stage") == [(step, float(step > 400)) for step in logged]
    evaluated = [0, 152, 300, 400, 452, 600, 752, 800]
    for task in TASKS:
        assert [step for step, _ in points(events, f"eval/return/{task}")] == evaluated
    assert [step for step, _ in points(events, f"train/return/{TASKS[0]}")] == logged[:4]
    assert [step for step, _ in points(events, f"train/return/{TASKS[1]}")] == logged[4:]


def test_greedy_returns_are_those_of_the_score_matrix(tracked):
    result, events = tracked
    for task, name in enumerate(TASKS):
        at_switches = [
            value for step, value in points(events, f"eval/return/{name}") if step % 400 == 0
        ]
        assert np.allclose(at_switches, result.scores[0, :, task])


def test_forgetting_is_the_return_when_learned_less_that_of_now(tracked):
    _, events = tracked
    returns = dict(points(events, f"eval/return/{TASKS[0]}"))
    learned = returns[400]
    lost = points(events, f"forgetting/{TASKS[0]}")
    assert [step for step, _ in lost] == [400, 452, 600, 752, 800]
    assert np.allclose([value for _, value in lost], [learned - returns[step] for step, _ in lost])
    assert points(events, f"forgetting/{TASKS[1]}") == [(800, 0.0)]


def test_schedules_are_shown_as_they_are(tracked):
    """Both fall linearly, exploration over half of a stage."""
    _, events = tracked
    rates = points(events, "schedule/learning_rate")
    steps = [(step - 1) % 400 + 1 for step, _ in rates]
    assert steps[0] >= 40
    by_hand = [1e-2 - 9e-3 * step / 400 for step in steps]
    assert [rate for _, rate in rates] == pytest.approx(by_hand, rel=1e-3)
    epsilon = [value for _, value in points(events, "schedule/epsilon")]
    assert epsilon == pytest.approx([max(1 - 0.95 * step / 200, 0.05) for step in steps], rel=1e-3)


def test_the_memory_is_shown_with_its_shares_and_ages(tracked):
    _, events = tracked
    assert points(events, "memory/rows")[:4] == [(100, 140), (200, 240), (300, 340), (400, 340)]
    assert points(events, "memory/rows")[4:] == [(500, 180), (600, 280), (700, 380), (800, 380)]
    shares = [dict(points(events, f"memory/share/{task}")) for task in TASKS]
    assert shares[0][100] == 1
    assert 500 in shares[0] and 400 not in shares[1]
    assert shares[0][500] == pytest.approx(40 / 180)
    assert shares[1][500] == pytest.approx(140 / 180)
    assert points(events, "memory/age_min") == [(step, 0) for step in range(100, 900, 100)]
    assert dict(points(events, "memory/age_max"))[200] == 199
    (ages,) = [each for each in events.Histograms("memory/ages") if each.step == 200]
    shown = ages.histogram_value  # each of 200 rows, and 40 of them once more
    assert (shown.min, shown.max, shown.num) == (0, 199, 240)
    assert shown.bucket[0] == 0 and min(shown.bucket[1:]) == 2 and sum(shown.bucket) == 240
    assert shown.bucket_limit[:3] == pytest.approx([0, 1.99, 3.98])
    edges, rows = np.array(shown.bucket_limit), np.array(shown.bucket[1:])
    middles = (edges[:-1] + edges[1:]) / 2
    assert shown.sum == pytest.approx(rows @ middles)
    assert shown.sum_squares == pytest.approx(rows @ middles**2)


def test_pictures_are_drawn_before_training_and_after_each_stage(tracked):
    _, events = tracked
    for tag in ("score_matrix", "learning_curves"):
        assert [image.step for image in events.Images(tag)] == [0, 400, 800]
        assert events.Images(tag)[0].width > 100


def test_the_configuration_is_there_as_text_and_as_hyper_parameters(tracked):
    result, events = tracked
    (text,) = events.Tensors("configuration/text_summary")
    assert "| num_envs | 4 |" in text.tensor_proto.string_val[0].decode()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    hparams = HParamsPluginData.FromString(content).session_start_info.hparams
    assert hparams["num_envs"].number_value == 4
    assert hparams["buffer"].string_value == "hybrid"
    for name, value in result.metrics.items():
        if value["mean"] is not None:
            assert points(events, f"hparam/{name}") == [(800, pytest.approx(value["mean"]))]


@pytest.mark.usefixtures("no_pictures")
def test_the_first_point_of_training_returns_is_the_mean_of_the_episodes_that_ended(
    config, scalars, stopped_at, last_state
):
    """Every 10 steps of 4 environments 4 episodes end: 8 within the first 100 steps."""
    folder = Path(config().logdir) / "mine"
    stopped_at(config(name="mine"), 80)
    paid = last_state(folder)["memories"]["0"]["recent.column.reward"].sum()
    stopped_at(config(resume="mine"), 100)
    assert scalars(folder)["train/return/retain/Recall"] == [(100, pytest.approx(paid / 8))]


def test_what_was_predicted_and_measured_of_a_task_lies_in_one_chart():
    charts = interference_charts([*TASKS, "Odd (+1)"])
    tags = [f"interference/{what}/{task}" for what in ("predicted", "measured") for task in TASKS]
    tags += ["interference/predicted/Odd (+1)", f"interference/cosine_by_layer/{TASKS[0]}/all"]
    for task in (*TASKS, "Odd (+1)"):
        _, (pattern,) = charts[f"change of loss: {task}"]
        shown = [tag for tag in tags if re.match(pattern, tag)]
        assert shown == [tag for tag in tags[:-1] if tag.split("/", 2)[2] == task]
    _, (pattern,) = charts["cosine of gradients"]
    assert not [tag for tag in tags if re.match(pattern, tag)]
    assert re.match(pattern, f"interference/cosine/{TASKS[0]}")


@pytest.mark.parametrize(("changes", "there"), [({}, True), ({"interference_interval": 0}, False)])
def test_there_are_charts_of_interference_where_it_is_looked_at(changes, there, make_run, tmp_path):
    run, tracker = make_run(**{"interference_interval": 50} | changes), Tracker(tmp_path)
    tracker.start(run)
    tracker.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    (layout,) = events.Tensors("custom_scalars__config__")
    content = Layout.FromString(layout.tensor_proto.string_val[0])
    assert [category.title for category in content.category] == [
        "all tasks",
        *(["interference"] if there else []),
    ]
    run.close()


def test_the_interval_of_several_members_is_a_band_around_their_mean(revisiting, tmp_path):
    tracker = Tracker(tmp_path)
    tracker.start(revisiting)
    tracker.scores(revisiting, np.array([[8.0, 1], [6, 1]]))
    tracker.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    half = 12.706205  # the quantile of Student's t for two members, times a standard error of 1
    for task, mean, error in ((TASKS[0], 7, half), (TASKS[1], 1, 0)):
        shown = [points(events, f"eval/{end}/{task}")[0][1] for end in ("return", "low", "high")]
        assert shown == pytest.approx([mean, mean - error, mean + error])
    (layout,) = events.Tensors("custom_scalars__config__")
    content = Layout.FromString(layout.tensor_proto.string_val[0])
    (members,) = [each for each in content.category if each.title == "all members"]
    for task, chart in zip(TASKS, members.chart, strict=True):
        (band,) = chart.margin.series
        ends = [f"eval/{end}/{task}" for end in ("return", "low", "high")]
        assert [band.value, band.lower, band.upper] == ends


# --- what the pictures and the forgetting are made of ---------------------------------------------


@pytest.fixture
def revisiting(make_run):
    """Tasks 0, 1, 0 of 10, 12 and 5 steps, 4 environments, two members."""
    run = make_run(envs="retain/Recall:10,retain/RecallShifted:12,retain/Recall:5", seeds=2)
    run.history.scores = [[[0, 0], [0, 0]], [[8, 1], [6, 1]]]
    run.clock.stage, run.clock.before = 1, 12
    return run


def test_forgetting_leaves_out_the_task_in_training(revisiting):
    now = np.array([[3.0, 9.0], [4.0, 9.0]])
    revisiting.envs = revisiting.open_envs()  # of task 1
    assert forgetting_now(revisiting, now) == {0: (8 + 6) / 2 - (3 + 4) / 2}
    revisiting.clock.stage = 2  # task 0 again
    revisiting.history.scores.append([[3, 9], [4, 9]])
    assert forgetting_now(revisiting, np.array([[8.0, 5], [8, 6]])) == {1: 9 - 5.5}
    revisiting.close()


def test_at_a_switch_forgetting_shows_also_the_task_that_comes_again(revisiting):
    revisiting.clock.stage = 2
    revisiting.history.scores.append([[3, 9], [4, 9]])
    assert forgetting_now(revisiting, np.array([[3.0, 9], [4, 9]])) == {0: 7 - 3.5, 1: 0}


def test_after_a_revisit_forgetting_counts_from_there(revisiting):
    revisiting.clock.stage = 3
    revisiting.history.scores += [[[3, 9], [4, 9]], [[10, 5], [10, 5]]]
    assert forgetting_now(revisiting, np.array([[10.0, 5], [10, 5]])) == {0: 0, 1: 4}


def test_rows_are_named_by_what_they_come_after(revisiting):
    revisiting.clock.stage = 2
    revisiting.history.scores.append([[3, 9], [4, 9]])
    assert row_names(revisiting) == ["before", f"after {TASKS[0]}", f"after {TASKS[1]}"]
