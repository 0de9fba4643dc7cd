"""A run's outcome: summary.json, always valid, and what was forgotten."""

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from experiments.checkpoint import write_atomically
from experiments.interference import per_stage
from experiments.metrics import normalize, row_after, summarize
from experiments.run import Run
from experiments.timeline import evaluations


def references(run: Run) -> tuple[list[float], list[str]]:
    """The return that counts as 1 for each task, and where it is from.

    It is the return at which Gymnasium calls the task solved; where there is none, or a random
    policy reaches it, the best score that the run saw; nan if that is no better than random.
    """
    best = np.array(run.history.scores).mean(1).max(0)
    values, sources = [], []
    for task, random, seen in zip(run.sequence.tasks, run.history.random, best, strict=True):
        solved = task.solved_at
        if solved is not None and solved > random:
            values.append(float(solved))
            sources.append("solved")
        else:
            values.append(float(seen) if seen > random else np.nan)
            sources.append("best seen")
    return values, sources


def summarize_run(run: Run) -> dict[str, Any]:
    """The contents of summary.json.

    `time_shares` says how the time was spent, in shares of 1: `acting` (choosing actions),
    `stepping` (environments), `storing` (scales, n-step sums, memory), `sampling`, `learning`
    (gradient steps, with their compilation, and feedback to the memory), `evaluating`, and `other`
    (logs, checkpoints, pictures).
    """
    scores = np.array(run.history.scores).swapaxes(0, 1)
    stages = [stage.task for stage in run.sequence.stages[: scores.shape[1] - 1]]
    values, sources = references(run)
    common = normalize(scores, run.history.random, values)
    complete = set(stages) == set(range(len(run.sequence.tasks)))
    steps_seen, scores_seen = evaluations(run)
    view = run.view()
    assert view is not None  # only within a stage it may be unknown
    return {
        "version": package_version(),
        "config": run.config.to_json(),
        "tasks": run.sequence.names,
        "stages": [run.sequence.names[task] for task in stages],
        "seeds": run.seeds,
        "scores": scores.tolist(),
        "evaluations": {"steps": steps_seen.tolist(), "scores": scores_seen.tolist()},
        "reference": {
            "random": run.history.random,
            "single_task": None,
            "one": values,
            "one_is": sources,
        },
        "metrics": summarize(common, stages) if complete else {},
        "forgotten": forgotten(run, scores, stages),
        "interference": per_stage(run),
        "memory": view.held | {"idle": view.idle},
        **_cost(run),
    }


def _cost(run: Run) -> dict[str, Any]:
    steps = run.clock.total * run.config.seeds
    return {
        "environment_steps": steps,
        "gradient_steps": run.clock.updates * run.config.seeds,
        "compiled": run.compiled,
        "wall_seconds": run.clock.seconds,
        "steps_per_second": steps / max(run.clock.seconds, 1e-9),
        "time_shares": run.clock.shares,
        "peak_memory_bytes": run.peak_memory,
    }


def write_summary(run: Run) -> dict[str, Any]:
    """Rewrites summary.json as a whole."""
    summary = summarize_run(run)
    text = json.dumps(_json_safe(summary), indent=1)
    write_atomically(run.folder / "summary.json", text.encode())
    return summary


def rows_written(folder: Path) -> int:
    """Rows of the score matrix in a run's summary.json; none, if it has none or is damaged."""
    try:
        return len(json.loads((folder / "summary.json").read_text())["scores"][0])
    except (OSError, ValueError, LookupError, TypeError):
        return 0


def forgotten(run: Run, scores: np.ndarray, stages: list[int]) -> list[dict[str, Any]]:
    """For each task learned before the last stage: what it lost, and in which stage most of it.

    Args:
        run: The run.
        scores: `[members, stages + 1, tasks]`.
        stages: The task of each stage that is over.
    """
    found = []
    mean = scores.mean(0)
    for task in sorted(set(stages[:-1]) - set(stages[-1:])):
        row = row_after(stages, task)
        drops = mean[row:-1, task] - mean[row + 1 :, task]
        learned, now, random = mean[row, task], mean[-1, task], run.history.random[task]
        worst = row + int(np.argmax(drops))
        found.append(
            {
                "task": run.sequence.names[task],
                "learned": float(learned),
                "now": float(now),
                "kept": float((now - random) / (learned - random)) if learned > random else None,
                "most_lost_while_learning": run.sequence.names[stages[worst]],
                "lost_then": float(drops.max()),
            }
        )
    return found


def package_version() -> str:
    """The installed version, or `0+clone` in a checkout that is not installed."""
    try:
        return version("retain-rl")
    except PackageNotFoundError:
        return "0+clone"


def _json_safe(value: Any) -> Any:
    """NaN and infinity are no JSON: null instead."""
    if isinstance(value, dict):
        return {key: _json_safe(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_json_safe(each) for each in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
