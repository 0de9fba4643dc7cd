"""TensorBoard: learning and forgetting as they happen."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from buffers.views import figures
from envs.errors import one_line
from experiments import schedules
from experiments.memories import View
from experiments.metrics import interval, normalize
from experiments.run import Run
from experiments.timeline import evaluations, finished_stages

LOG = logging.getLogger("retain")
ENDS = ("low", "high")  # of an interval over members, in tags


class Tracker:
    """Writes a run's events; the x axis is each member's environment steps over all tasks.

    Args:
        folder: The run's folder.
        purge_step: On resume, the step from which older events no longer hold.
    """

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        from torch.utils.tensorboard import SummaryWriter  # here: `--help` need not wait for it

        self._writer = SummaryWriter(str(folder), purge_step=purge_step, flush_secs=10)

    @staticmethod
    def of(run: Run) -> "Tracker":
        """Begins to write, or goes on after what the run's clock says was done."""
        if run.history.scores:
            return Tracker(run.folder, purge_step=run.clock.total + 1)
        tracker = Tracker(run.folder, purge_step=0)
        tracker.start(run)
        return tracker

    def start(self, run: Run) -> None:
        """Writes the configuration, and a chart that overlays all tasks."""
        lines = [f"| {k} | {v} |" for k, v in run.config.to_json().items()]
        table = "\n".join(["| option | value |", "|---|---|", *lines])
        self._writer.add_text("configuration", table, 0)
        overlay = {
            "greedy returns": ["Multiline", ["eval/return/.*"]],
            "forgetting": ["Multiline", ["forgetting/.*"]],
        }
        charts = {"all tasks": overlay}
        if run.config.seeds > 1:
            charts["all members"] = interval_charts(run.sequence.names)
        if run.config.interference_interval > 0 and len(run.sequence.stages) > 1:
            charts["interference"] = interference_charts(run.sequence.names)
        self._writer.add_custom_scalars(charts)

    def log(self, run: Run, steps_per_second: float) -> None:
        """Training returns, the learner's numbers, and what the memory holds."""
        view, step = run.view(), run.clock.total
        values = run.history.take_means() | {
            "task/stage": run.clock.stage,
            "schedule/learning_rate": schedules.learning_rate(run),
            "schedule/epsilon": schedules.epsilon(run),
            "speed/steps_per_second": steps_per_second,
        }
        values |= {f"time/{part}": share for part, share in run.clock.shares.items()}
        if view is not None:
            values |= held(view, run.sequence.names)
        self._scalars(values, step)
        if view is not None and view.held["rows"]:
            self._histogram("memory/ages", *view.ages, step)

    def scores(self, run: Run, scores: np.ndarray) -> None:
        """Greedy returns of every task, their intervals, and what is forgotten of earlier tasks."""
        step = run.clock.total
        names, means = run.sequence.names, scores.mean(0)
        lost = forgetting_now(run, scores)
        values = {f"eval/return/{name}": mean for name, mean in zip(names, means, strict=True)}
        values |= intervals(names, scores)
        self._scalars(values | {f"forgetting/{names[task]}": lost[task] for task in lost}, step)
        self._writer.flush()

    def pictures(self, run: Run, reference: list[float]) -> None:
        """The score matrix and the curves so far."""
        from experiments import figures  # here, since Matplotlib takes long to import

        scores = np.array(run.history.scores).mean(1)
        shares = normalize(scores, run.history.random, reference)
        names, rows = run.sequence.names, row_names(run)
        matrix = figures.score_matrix(scores, shares, names, rows)
        self._writer.add_figure("score_matrix", matrix, run.clock.total)
        steps, points = evaluations(run)
        curves = figures.learning_curves(steps, points, names, finished_stages(run))
        self._writer.add_figure("learning_curves", curves, run.clock.total)

    def finish(self, run: Run, metrics: dict[str, dict[str, float | None]]) -> None:
        """The outcome beside the configuration (HParams)."""
        from torch.utils.tensorboard.summary import hparams

        simple = (bool, int, float, str)
        config = {k: v for k, v in run.config.to_json().items() if isinstance(v, simple)}
        outcome = {f"hparam/{k}": v["mean"] for k, v in metrics.items() if v["mean"] is not None}
        events = self._writer._get_file_writer()
        for summary in hparams(config, outcome):
            events.add_summary(summary)
        self._scalars(outcome, run.clock.total)

    def flush(self) -> None:
        """Puts what was written so far on disk, so that it survives a crash."""
        self._writer.flush()

    def close(self) -> None:
        """Flushes and closes the event file; says so where its last points cannot be written.

        What went wrong before, such as a disk that is full since then, is its writers' to tell.
        """
        try:
            self._writer.close()
        except OSError as error:
            LOG.warning("TensorBoard lacks the last points: %s", one_line(error))

    def _scalars(self, values: Mapping[str, float], step: int) -> None:
        """Writes one event with all of them; an event for each takes as long as many updates."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        each = [Summary.Value(tag=tag, simple_value=float(v)) for tag, v in values.items()]
        self._writer._get_file_writer().add_summary(Summary(value=each), step)

    def _histogram(self, tag: str, counts: np.ndarray, edges: np.ndarray, step: int) -> None:
        """Writes numbers as `np.histogram` has counted them."""
        middles = (edges[:-1] + edges[1:]) / 2
        self._writer.add_histogram_raw(
            tag,
            min=edges[0],
            max=edges[-1],
            num=counts.sum(),
            sum=counts @ middles,
            sum_squares=counts @ middles**2,
            bucket_limits=edges.tolist(),
            bucket_counts=[0, *counts.tolist()],  # none is below the first edge
            global_step=step,
        )


def held(view: View, names: Sequence[str]) -> dict[str, float]:
    """What a memory holds, by tag."""
    found = figures(view.held, view.coverage, names.__getitem__)
    return {f"memory/{name}": value for name, value in found.items()}


def intervals(names: Sequence[str], scores: np.ndarray) -> dict[str, float]:
    """The ends of the 95% interval of each task's mean return, by tag; of one member there is none.

    Args:
        names: The tasks.
        scores: `[members, tasks]`.
    """
    found = {name: interval(values) for name, values in zip(names, scores.T, strict=True)}
    ends = {f"eval/{end}/{name}": found[name][end] for name in names for end in ENDS}
    return {tag: value for tag, value in ends.items() if value is not None}


def interval_charts(names: Sequence[str]) -> dict[str, list[Any]]:
    """A chart for each task: the mean return, and its interval as a band around it."""
    return {
        f"greedy return: {name}": ["Margin", [f"eval/{of}/{name}" for of in ("return", *ENDS)]]
        for name in names
    }


def interference_charts(names: list[str]) -> dict[str, list[Any]]:
    """Charts of what learning does to earlier tasks: prediction and measurement lie together."""
    cosine = {"cosine of gradients": ["Multiline", ["interference/cosine/.*"]]}
    tag = "interference/(predicted|measured)/{}$"
    return cosine | {
        f"change of loss: {name}": ["Multiline", [tag.format(re.escape(name))]] for name in names
    }


def forgetting_now(run: Run, scores: np.ndarray) -> dict[int, float]:
    """For each task learned before and not in training: its score right after, less that of now."""
    rows = run.history.scores
    current = run.stage.task if run.in_stage else None
    lost = {}
    for row, stage in enumerate(run.sequence.stages[: run.clock.stage], start=1):
        if stage.task != current and row < len(rows):
            after = np.array(rows[row])[:, stage.task]
            lost[stage.task] = float((after - scores[:, stage.task]).mean())
    return lost


def row_names(run: Run) -> list[str]:
    """What each row of the score matrix comes after."""
    stages = run.sequence.stages[: len(run.history.scores) - 1]
    return ["before", *(f"after {run.sequence.names[stage.task]}" for stage in stages)]
