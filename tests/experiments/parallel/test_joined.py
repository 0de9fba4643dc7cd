"""What parts of a run report, in whatever order, comes to the run of all members."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from experiments import train
from experiments.folders import new_run
from experiments.history import History
from experiments.monitor import Monitor
from experiments.parallel.joined import Joined, added, averaged, shared_out
from experiments.parallel.reports import Reporter
from experiments.screen import Screen
from experiments.summary import rows_written, summarize_run, write_summary

SHORT = {"envs": "retain/Recall:160,retain/RecallShifted:120", "log_interval": 40, "seeds": 3}
OF_TIME = ("wall_seconds", "steps_per_second", "time_shares", "peak_memory_bytes", "config")
pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def reported(tmp_path):
    """Trains a part of a run here; what it would send."""

    def reports(config) -> list[bytes]:
        sent: list[bytes] = []
        run = new_run(replace(config, logdir=str(tmp_path / "parts")))
        reporter = Reporter(lambda report: sent.append(pickle.dumps(report)), config.seed == 0)
        reporter.start(run)
        Monitor(run, reporter, Screen(Console(quiet=True))).train()
        run.close()
        return sent

    return reports


@pytest.fixture
def parts(reported, config):
    """The whole configuration, and the reports of its two parts."""
    whole = config(**SHORT, processes=2, interference_interval=40, name="whole", compile="off")
    return whole, [reported(part) for part in shared_out(whole)]


def join(config, sent, order, folder):
    """The joined run, and what it yielded at which step, for an order of parts."""
    run, seen = Joined(config, folder), []
    queues = [[pickle.loads(each) for each in queue] for queue in sent]
    for part in order:
        for what, news in run.take(part, queues[part].pop(0)):
            shown = [] if what in ("start", "log") else news.tolist()  # the speed differs
            if what == "switch":
                write_summary(run)
            seen.append((what, run.clock.total, run.in_stage, shown))
    assert not any(queues)
    return run, seen


def test_joined_parts_come_to_what_the_members_come_to_together(parts, tmp_path):
    whole, sent = parts
    run, _ = join(whole, sent, [0] * len(sent[0]) + [1] * len(sent[1]), tmp_path)
    mine = summarize_run(run)
    other = train(replace(whole, processes=1)).summary
    assert mine["interference"]
    for name in mine.keys() - set(OF_TIME):
        assert_close(mine[name], other[name], name)


def assert_close(mine, other, path):
    """Equal, but for the last bits of what was added up in another order."""
    if isinstance(mine, dict):
        assert mine.keys() == other.keys(), path
        mine, other = list(mine.values()), list(other.values())
    if isinstance(mine, list):
        assert len(mine) == len(other), path
        for one, another in zip(mine, other, strict=True):
            assert_close(one, another, path)
    elif isinstance(mine, float):
        assert mine == pytest.approx(other, rel=1e-4, abs=1e-6, nan_ok=True), path
    else:
        assert mine == other, path


def test_what_is_shown_does_not_depend_on_which_part_is_ahead(parts, tmp_path):
    whole, sent = parts
    rng, order = np.random.default_rng(0), np.repeat([0, 1], [len(queue) for queue in sent])
    first = join(whole, sent, order, tmp_path)[1]
    assert [step for _, step, *_ in first] == sorted(step for _, step, *_ in first)
    assert {what for what, *_ in first} == {"start", "log", "evaluation", "switch"}
    for number in range(5):
        folder = tmp_path / str(number)  # where no summary is of rows shown before
        assert join(whole, sent, rng.permuted(order), folder)[1] == first


@pytest.mark.parametrize("left", [(9, 5), (5, 9), (12, 3), (7, 7)])
def test_parts_that_were_left_at_unlike_steps_go_on_as_if_they_had_not(parts, left, tmp_path):
    """The one ahead has told before what the other one has yet to reach, and may begin later."""
    whole, sent = parts
    run, seen = join(whole, sent, [0] * len(sent[0]) + [1] * len(sent[1]), tmp_path / "whole")
    before = [queue[:count] for queue, count in zip(sent, left, strict=True)]
    later = [left_at(queue, count) for queue, count in zip(sent, left, strict=True)]
    order, first = np.repeat([0, 1], [len(queue) for queue in later]), None
    rng = np.random.default_rng(0)
    for number, each in enumerate([order, order[::-1], *(rng.permuted(order) for _ in range(4))]):
        folder = tmp_path / str(number)
        _, shown_before = join(whole, before, [0] * left[0] + [1] * left[1], folder)
        resumed, shown = join(whole, later, each, folder)
        assert resumed.history.scores == run.history.scores
        assert resumed.history.curve == run.history.curve
        (begin,) = [step for what, step, *_ in shown if what == "start"]
        assert begin == shown_before[-1][1]
        assert shown_before + shown[1:] == seen
        assert shown == (first := first or shown)


def test_of_logs_that_the_first_part_told_before_no_memory_is_shown(parts, tmp_path):
    whole, sent = parts
    first, *_ = later = [left_at(queue, count) for queue, count in zip(sent, (9, 5), strict=True)]
    ahead, run, known = pickle.loads(first[0]).clock.total, Joined(whole, tmp_path), {}
    for report in map(pickle.loads, later[1]):
        assert not list(run.take(1, report))
    for report in map(pickle.loads, first):
        for what, _ in run.take(0, report):
            if what == "log":
                noted = any(name.startswith("memory/") for name in run.history.pending)
                known[run.clock.total] = run.view() is not None, noted
    assert known == {step: (step > ahead, step > ahead) for step in known}
    assert {shown for shown, _ in known.values()} == {False, True}


def test_rows_that_were_told_and_not_written_are_shown_on_resume(parts, tmp_path):
    whole, sent = parts
    run, _ = join(whole, sent, [0] * len(sent[0]) + [1] * len(sent[1]), tmp_path)
    (tmp_path / "summary.json").unlink()
    over = [left_at(queue, len(queue)) for queue in sent]
    resumed, shown = join(whole, over, [0, 1], tmp_path)
    assert [(what, step) for what, step, *_ in shown] == [
        *(("start", 280), ("switch", 0), ("switch", 160), ("switch", 280))
    ]
    assert [scores for *_, scores in shown[1:]] == run.history.scores
    assert summarize_run(resumed)["metrics"] == summarize_run(run)["metrics"] != {}
    again, shown = join(whole, over, [1, 0], tmp_path)
    assert [what for what, *_ in shown] == ["start"]
    assert summarize_run(again)["scores"] == summarize_run(run)["scores"]


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "null", '{"scores": []}', '{"scores": 3}'])
def test_a_damaged_summary_has_no_rows(text, tmp_path):
    (tmp_path / "summary.json").write_text(text)
    assert rows_written(tmp_path) == 0


def left_at(queue: list[bytes], count: int) -> list[bytes]:
    """A part's reports once it was left after so many of them, and goes on."""
    first, *told = map(pickle.loads, queue[:count])
    history = History(**first.news)
    for report in told:
        if report.what == "evaluation":
            history.curve.append(report.news)
        elif report.what == "switch":
            row, history.random = report.news
            history.scores.append(row)
    begin = replace(told[-1], what="start", news=history.state_dict())
    return [pickle.dumps(begin), *queue[count:]]


def test_a_report_is_as_small_whatever_the_memory_holds(make_run):
    """One part may be far ahead of another, and all it told waits until then."""
    few, many = (size_of_a_log(make_run(buffer="fifo", capacity=n), n) for n in (400, 40_000))
    assert few - 200 < many < few + 200 < 10_000


def size_of_a_log(run, rows: int) -> int:
    """In bytes, of a run whose memory holds so many rows."""
    (buffer,), sent = run.memories.buffers, []
    buffer.add({name: np.zeros((rows, *c.shape), c.dtype) for name, c in buffer.columns.items()})
    Reporter(sent.append, True).log(run, 1.0)
    return len(pickle.dumps(sent[0]))


def test_members_are_shared_out_evenly_and_in_order(config):
    for seeds, processes in ((1, 1), (5, 2), (7, 3), (8, 8)):
        found = shared_out(config(seed=10, seeds=seeds, processes=processes))
        assert [part.seed + k for part in found for k in range(part.seeds)] == [
            10 + member for member in range(seeds)
        ]
        sizes = [part.seeds for part in found]
        assert max(sizes) - min(sizes) <= 1 and len(sizes) == processes
        assert len({part.name for part in found}) == processes


def test_numbers_are_added_and_averaged_where_there_are_some():
    trees = [{"a": [1.0, 2.0]}, {"a": [3.0, 4.0], "b": [5.0, 1.0]}]
    assert added(trees) == {"a": [4.0, 6.0], "b": [5.0, 1.0]}
    shares = np.array([0.75, 0.25])
    assert averaged(trees, shares) == {"a": [1.5, 2.5], "b": [5.0, 1.0]}
    assert added([{"x": 1.0}, {"x": 2.5}]) == {"x": 3.5}


def test_a_joined_run_needs_the_memory_of_all_members(config):
    assert Joined(config(**SHORT, processes=3)).memory_needed.startswith("3 members need")
