"""A run whose members train in several processes: their reports, combined into one run."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.clock import Clock
from experiments.config import Config
from experiments.history import History
from experiments.memories import View
from experiments.needs import peak_memory
from experiments.parallel.reports import Report, What
from experiments.run import Run
from experiments.summary import rows_written

MEMBERS = "members"  # folder in that of the run: a run in it for each part


class Joined(Run):
    """All members of a run, as their processes report; its own agent and memories stay unused.

    Args:
        config: Of all members; `processes` says how many parts there are.
        folder: Where the run's files go.
    """

    def __init__(self, config: Config, folder: Path = Path()) -> None:
        super().__init__(config, folder)
        self.parts = shared_out(self.config)
        self._shares = np.array([part.seeds for part in self.parts]) / config.seeds
        self._starts: dict[int, Report] = {}  # where each part began
        self._histories = [History() for _ in self.parts]
        self._told: dict[tuple[int, What], dict[int, Report]] = {}  # not yet shown: part -> report
        self._shown: list[Report] = []  # the parts' reports of where this is
        self._in_stage = False

    @property
    def in_stage(self) -> bool:
        """Whether what is shown is within a stage."""
        return self._in_stage

    @property
    def compiled(self) -> bool:
        """Whether all parts run compiled; until they have begun, whether they will."""
        return all(report.compiled for report in self._shown) and self.agent.compiled

    @property
    def peak_memory(self) -> int:
        """Largest resident sizes of all processes together, in bytes."""
        return peak_memory() + sum(report.peak_memory for report in self._shown)

    def view(self) -> View | None:
        """What the first member's memory held at the step shown.

        None if its process had passed that step before the run was resumed.
        """
        first = self._shown[0]
        return None if self.in_stage and first is self._starts[0] else first.view

    def take(self, part: int, report: Report) -> Iterator[tuple[What, Any]]:
        """Takes a report in.

        Args:
            part: The number of the part.
            report: The next one of that part.

        Yields:
            What is complete with it: `start`, once; `log` and the speed of all members;
            `evaluation` or `switch` and the scores `[members, tasks]`. The run is then where that
            was.
        """
        self._note(part, report)
        if len(self._starts) < len(self.parts):
            return
        if not self._shown:
            self._begin()
            yield "start", None
        while complete := self._earliest():
            step, what = complete
            told = self._told.pop((step, what), {})
            self._shown = self._reports(told)
            if what == "log":
                yield what, self._next_log(told)
            else:
                yield what, self._next_point() if what == "evaluation" else self._next_row()

    def _note(self, part: int, report: Report) -> None:
        if report.what == "start":
            self._starts[part], self._histories[part] = report, History(**deepcopy(report.news))
            return
        self._told.setdefault((report.clock.total, report.what), {})[part] = report
        if report.what == "evaluation":
            self._histories[part].curve.append(report.news)
        elif report.what == "switch":
            row, self._histories[part].random = report.news
            self._histories[part].scores.append(row)

    def _begin(self) -> None:
        """Restores what was shown before the run was resumed; of rows, those in summary.json."""
        starts = self._shown = self._reports({})
        rows = min(len(start.news["scores"]) for start in starts)
        for _ in range(min(rows, rows_written(self.folder))):
            self._next_row()
        for _ in range(min(len(start.news["curve"]) for start in starts)):
            self._next_point()
        behind = min(starts, key=lambda start: start.clock.total)
        self._stand_at(behind.clock, False)

    def _earliest(self) -> tuple[int, What] | None:
        """The earliest report (step, kind) that all parts have sent and that was not shown yet.

        None: some part is still to be waited for.
        """
        found: list[tuple[int, int, What]] = []
        row, point = len(self.history.scores), len(self.history.curve)
        if all(len(part.scores) > row for part in self._histories):
            found.append((self.first_step(row), 2, "switch"))
        if all(len(part.curve) > point for part in self._histories):
            found.append((self._histories[0].curve[point][0], 1, "evaluation"))
        for (step, what), told in self._told.items():
            awaited = [k for k, start in self._starts.items() if start.clock.total < step]
            if what == "log" and told.keys() >= set(awaited):
                found.append((step, 0, "log"))
        if not found:
            return None
        step, _, first = min(found)
        return step, first

    def _next_log(self, told: dict[int, Report]) -> float:
        logs = [told[part] for part in sorted(told)]
        self.history.pending = added([report.news for report in logs])
        self._stand_at(logs[0].clock, True)
        return sum(report.steps_per_second for report in logs)

    def _next_point(self) -> np.ndarray:
        points = [part.curve[len(self.history.curve)] for part in self._histories]
        step, stage, _ = points[0]
        scores = [scores for _, _, own in points for scores in own]
        self.history.curve.append((step, stage, scores))
        before = self.first_step(stage)
        self._stand_at(Clock(stage, step - before, before), True)
        return np.array(scores)

    def _next_row(self) -> np.ndarray:
        stage = len(self.history.scores)
        scores = [scores for part in self._histories for scores in part.scores[stage]]
        self.history.scores.append(scores)
        self.history.random = self._histories[0].random
        self._stand_at(Clock(stage, 0, self.first_step(stage)), False)
        return np.array(scores)

    def _stand_at(self, clock: Clock, in_stage: bool) -> None:
        """Sets the clock, with updates, times and interference from the reports shown."""
        clocks = [report.clock for report in self._shown]
        self.clock = replace(
            clock,
            updates=min(each.updates for each in clocks),
            seconds=max(each.seconds for each in clocks),
            parts=added([each.parts for each in clocks]),
        )
        self._in_stage = in_stage
        looks = [report.interference for report in self._shown]
        self.history.interference = averaged(looks, self._shares)

    def _reports(self, told: Mapping[int, Report]) -> list[Report]:
        """Each part's report in `told`; its start report, if it had passed that step before."""
        return [told.get(part, self._starts[part]) for part in range(len(self.parts))]


def shared_out(config: Config) -> list[Config]:
    """The members in as many parts as there are processes; the first have one more, if any."""
    sizes = [len(each) for each in np.array_split(np.arange(config.seeds), int(config.processes))]
    seeds = [config.seed + sum(sizes[:k]) for k in range(len(sizes))]
    return [
        replace(config, seed=seed, seeds=size, processes=1, name=f"{seed}-{seed + size - 1}")
        for seed, size in zip(seeds, sizes, strict=True)
    ]


def added(trees: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Numbers, or lists of such, added up under each name."""
    names = dict.fromkeys(name for tree in trees for name in tree)
    own = {name: [tree[name] for tree in trees if name in tree] for name in names}
    return {name: np.sum(values, axis=0).tolist() for name, values in own.items()}


def averaged(
    trees: Sequence[Mapping[str, list[float]]], weights: np.ndarray
) -> dict[str, list[float]]:
    """Lists of numbers averaged under each name, over the trees that have it."""
    names, found = dict.fromkeys(name for tree in trees for name in tree), {}
    for name in names:
        there = [k for k, tree in enumerate(trees) if name in tree]
        values = [trees[k][name] for k in there]
        found[name] = np.average(values, axis=0, weights=weights[there]).tolist()
    return found
