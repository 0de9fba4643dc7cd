"""What a person sees: a progress bar while it runs, tables when it is done."""

from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from experiments.metrics import interval
from experiments.run import Run


class Screen:
    """A progress bar on a terminal; nothing where output is not a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]:,.0f} steps/s"),
            TextColumn("{task.fields[returns]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._bar = self._progress.add_task("", total=None, speed=0.0, returns="")

    def start(self, run: Run) -> None:
        """Shows the bar."""
        self._progress.update(self._bar, total=run.total_steps, completed=run.clock.total)
        self._progress.start()

    def step(self, run: Run) -> None:
        """Moves the bar on."""
        if self._progress.disable:
            return
        stage = f"{run.task_name} ({run.clock.stage + 1}/{len(run.sequence.stages)})"
        self._progress.update(self._bar, description=stage, completed=run.clock.total)

    def speed(self, steps_per_second: float) -> None:
        """Shows the speed, in environment steps of all members."""
        self._progress.update(self._bar, speed=steps_per_second)

    def scores(self, run: Run, scores: np.ndarray) -> None:
        """Shows the last greedy returns."""
        pairs = zip(run.sequence.names, scores.mean(0), strict=True)
        self._progress.update(self._bar, returns=", ".join(f"{n} {s:.0f}" for n, s in pairs))

    def stop(self) -> None:
        """Leaves the terminal as it was."""
        self._progress.stop()


def print_outcome(console: Console, summary: dict[str, Any], folder: str) -> None:
    """The score matrix, what was forgotten, and where the run's files are."""
    scores = np.array(summary["scores"])
    rows = ["before training", *(f"after {name}" for name in summary["stages"])]
    table = Table(title=f"greedy return, {scores.shape[0]} member(s)")
    table.add_column("")
    for name in summary["tasks"]:
        table.add_column(name, justify="right")
    for row, label in enumerate(rows):
        table.add_row(label, *(_cell(scores[:, row, task]) for task in range(scores.shape[2])))
    console.print(table)
    for entry in summary["forgotten"]:
        console.print(sentence(entry))
    if summary["memory"]["idle"]:
        console.print(f"memory: {summary['memory']['idle']}")
    for name, value in summary["metrics"].items():
        if value["mean"] is not None:
            console.print(f"{name.replace('_', ' '):>20}  {_with_interval(value)}")
    console.print(f"(on a scale from 0, a random policy, to 1: {_references(summary)})")
    speed = f"{summary['steps_per_second']:,.0f} steps/s in {summary['wall_seconds']:.0f} s"
    how = "compiled" if summary["compiled"] else "eager"
    console.print(f"{speed}, {how}; files in {folder}", soft_wrap=True)


def sentence(entry: dict[str, Any]) -> str:
    """What became of a task, in words."""
    start = f"{entry['task']}: {entry['learned']:.1f} when learned, {entry['now']:.1f} now"
    kept = "" if entry["kept"] is None else f" ({entry['kept']:.0%} kept)"
    if entry["lost_then"] <= 0 or (entry["kept"] or 0) >= 0.995:
        return f"{start}{kept}: not forgotten"
    loss = f"lost {entry['lost_then']:.1f} while learning {entry['most_lost_while_learning']}"
    return f"{start}{kept}: {loss}"


def _references(summary: dict[str, Any]) -> str:
    """What counts as 1 for each task, and why."""
    reference = summary["reference"]
    triples = zip(summary["tasks"], reference["one"], reference["one_is"], strict=True)
    return ", ".join(f"{name} {_reference(one, source)}" for name, one, source in triples)


def _reference(one: float, source: str) -> str:
    return "never better than random" if np.isnan(one) else f"{one:.0f} ({source})"


def _cell(values: np.ndarray) -> str:
    return _with_interval(interval(values), digits=1)


def _with_interval(value: dict[str, float | None], digits: int = 3) -> str:
    mean, high = value["mean"], value["high"]
    if mean is None:
        return "-"
    spread = "" if high is None else f" ± {high - mean:.{digits}f}"
    return f"{mean:.{digits}f}{spread}"
