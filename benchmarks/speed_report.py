"""The tables and the picture of benchmarks/speed.py, from what it measured."""

import json
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

Results = dict[str, Any]
BASE = "SB3 DQN"
LABELS = {
    "members": "members (member-steps/s)",
    "hidden": "width of two hidden layers",
    "envs": "environments of a member",
    "memory": "rows in a full memory",
}


def read(path: Path) -> Results:
    """All parts measured so far."""
    return json.loads(path.read_text()) if path.exists() else {}


def merge(path: Path, part: str, found: Results) -> None:
    """Keeps one part's results beside those of the others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(read(path) | {part: found}, indent=1) + "\n")


def peer_rows(part: Results) -> list[list[str]]:
    """Lines of the table: medians over repeats, ratios to SB3, every member's return."""
    rows = part["rows"]
    base = median(run["rate"] for run in rows[BASE]) if BASE in rows else None
    return [_peer_row(name, runs, base) for name, runs in rows.items()]


def _peer_row(name: str, runs: list[Results], base: float | None) -> list[str]:
    rate = median(run["rate"] for run in runs)
    returns = [score for run in runs for score in run["returns"]]
    compiling = median(run["compile_seconds"] for run in runs)
    per_second = [run["steps"] / run["whole_seconds"] for run in runs]
    return [
        name,
        f"{rate:,.0f}",
        "" if base is None else f"{rate / base:.2f}",
        f"{compiling:.0f}" if compiling else "",
        f"{median(per_second):,.0f}" if "processes" not in name else "",
        " ".join(f"{score:.0f}" for score in returns),
    ]


def default_rows(part: Results) -> list[list[str]]:
    """Lines of the default run's table; ratios are of wall time, to one member."""
    rows = part["rows"]
    one = rows.get("Retain, defaults")
    return [_default_row(name, row, one) for name, row in rows.items()]


def _default_row(name: str, row: Results, one: Results | None) -> list[str]:
    warm, ratio, warm_ratio = "", "", ""
    if one:
        ratio = f"{row['seconds'] / one['seconds']:.2f}"
    if row["compile_seconds"] is not None:  # it is not known of several processes
        without = row["seconds"] - row["compile_seconds"]
        warm = f"{without:.0f}"
        warm_ratio = f"{without / (one['seconds'] - one['compile_seconds']):.2f}" if one else ""
    shares = row["time_shares"] or {}
    outside = f"{1 - shares['learning']:.0%}" if shares else ""
    returns = [" ".join(f"{score:.0f}" for score in task) for task in row["returns"]]
    took, speed = f"{row['seconds']:.0f}", f"{row['steps'] / row['seconds']:,.0f}"
    return [name, took, warm, speed, ratio, warm_ratio, outside, *returns]


def share_lines(part: Results) -> list[str]:
    """Where each run of ours spent its time, the largest share first."""
    lines = []
    for name, row in part["rows"].items():
        shares = sorted((row["time_shares"] or {}).items(), key=lambda item: -item[1])
        if shares:
            lines.append(f"{name}: " + ", ".join(f"{what} {x:.0%}" for what, x in shares))
    return lines


def print_tables(results: Results) -> None:
    """Every part that was measured."""
    console = Console(width=150)
    for part in ("peers", "wide"):
        if part in results:
            setting = results[part]["setting"]
            title = "CartPole-v1, {0}-{0}, batch {1}, {2:,} steps, one update per step".format(
                setting["hidden"], setting["batch_size"], setting["steps"]
            )
            columns = ("agent", "steps/s", "x SB3", "compile s", "whole run, steps/s", "returns")
            console.print(_table(title, columns, peer_rows(results[part])))
    if "update" in results:
        rows = results["update"]["rows"]
        names = list(dict.fromkeys(name for row in rows.values() for name in row))
        lines = [[key, *(f"{row.get(n, np.nan):,.0f}" for n in names)] for key, row in rows.items()]
        console.print(_table("member-updates/s, update alone", ("", *names), lines))
    for part, label in LABELS.items():
        if part in results:
            points = results[part]["points"]
            lines = [[f"{int(x):,}", f"{point['rate']:,.0f}"] for x, point in points.items()]
            console.print(_table("Retain, compiled", (label, "steps/s"), lines))
    if "agreement" in results:
        rows = [
            [
                kind,
                f"{r['mean']:.0f} ({r['low']:.0f} to {r['high']:.0f})",
                f"{min(r['returns']):.0f}",
            ]
            for kind, r in results["agreement"]["rows"].items()
        ]
        columns = ("CartPole, ten members", "return (95%)", "worst")
        console.print(_table("the same learning", columns, rows))
    if "tasks" in results:
        seconds = " ".join(f"{s:.1f}" for s in results["tasks"]["round_seconds"])
        ratio = results["tasks"]["last_round_over_second"]
        console.print(f"five rounds of four tasks: {seconds} s; last / second {ratio:.2f}")
    if "default" in results:
        columns = (
            *("agent", "seconds", "without compiling", "steps/s", "x one member"),
            *("x without compiling", "outside learning", "CartPole", "Acrobot"),
        )
        title = f"CartPole, Acrobot: {results['default']['steps']:,} steps each, defaults"
        console.print(_table(title, columns, default_rows(results["default"])))
        console.print(*share_lines(results["default"]), sep="\n")


def _table(title: str, columns: tuple[str, ...], rows: list[list[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*row)
    return table


def draw(results: Results, path: Path) -> None:
    """Every growth curve that was measured, in one picture."""
    if any(part in results for part in (*LABELS, "tasks")):
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(results).savefig(path, dpi=120)


def picture(results: Results) -> Figure:
    """A panel for each growth curve; the one of tasks shows seconds, the others speeds."""
    curves = [part for part in LABELS if part in results]
    panels = len(curves) + ("tasks" in results)
    rows = -(-panels // 3)  # more side by side could not be read on a page
    figure = Figure(figsize=(3.4 * min(panels, 3), 2.8 * rows), layout="constrained")
    axes = figure.subplots(rows, min(panels, 3), squeeze=False).ravel()
    for axis, part in zip(axes, curves, strict=False):
        _draw_rates(axis, results[part]["points"], LABELS[part])
    if "tasks" in results:
        seconds = results["tasks"]["visit_seconds"]
        axes[len(curves)].plot(range(1, len(seconds) + 1), seconds, "o-")
        limits = (0, 1.1 * max(seconds))
        axes[len(curves)].set(xlabel="visit (20 of 4 tasks)", ylabel="seconds", ylim=limits)
        axes[len(curves)].grid(alpha=0.3)
    for axis in axes[panels:]:
        figure.delaxes(axis)
    return figure


def _draw_rates(axis: Axes, points: dict[str, Results], label: str) -> None:
    """Speeds on a scale of ratios, wide enough that no wiggle looks like a cliff."""
    rates = [point["rate"] for point in points.values()]
    axis.loglog([int(x) for x in points], rates, "o-")
    low, high = min(rates), max(rates)
    axis.set(xlabel=label, ylabel="environment steps/s", ylim=(min(low / 2, high / 20), 2 * high))
    axis.set_xticks([int(x) for x in points], [_short(int(x)) for x in points])
    axis.set_xticks([], minor=True)
    axis.grid(alpha=0.3)


def _short(number: int) -> str:
    """1,000 as 1k, a million as 1M."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if number % size == 0:
            return f"{number // size}{letter}"
    return str(number)
