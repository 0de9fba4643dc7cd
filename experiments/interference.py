"""Which task's learning harms which: what a round of gradient steps does to the tasks before.

Measuring changes nothing: rows are chosen evenly, not drawn, and no generator is touched, so
that a run is bit by bit the same with and without it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from agents import DQN
from agents.interference import Outlook
from experiments.run import Run

ROWS = 128  # of each task


@contextmanager
def watched(run: Run) -> Iterator[None]:
    """Around a round of gradient steps: notes how it acts on old tasks, if there are some."""
    old = old_tasks(run)
    if not old or not isinstance(run.agent, DQN):
        yield
        return
    seen = run.agent.outlook(rows_of(run, [run.stage.task, *old]), 1 + len(old))
    yield
    note(run, old, seen, *seen.changes(run.agent.state["theta"]))
    run.history.looked = run.clock.total


def is_due(run: Run) -> bool:
    """Whether this is the first round since the clock passed a multiple of the interval."""
    interval = run.config.interference_interval
    if interval == 0 or run.clock.stage == 0:
        return False
    return run.clock.total // interval > run.history.looked // interval


def old_tasks(run: Run) -> list[int]:
    """Tasks of earlier stages that are not running, of which every member's memory has rows."""
    before = {stage.task for stage in run.sequence.stages[: run.clock.stage]}
    here = run.stage.task
    if not run.memories.hold(here):
        return []
    return [task for task in sorted(before - {here}) if run.memories.hold(task)]


def rows_of(run: Run, tasks: Sequence[int]) -> dict[str, np.ndarray]:
    """As many rows of each task, one task after the other, `[members, tasks * ROWS, ...]`."""
    parts = [run.memories.spread(task, ROWS) for task in tasks]
    return {name: np.concatenate([part[name] for part in parts], 1) for name in parts[0]}


def note(run: Run, old: Sequence[int], seen: Outlook, predicted: Any, measured: Any) -> None:
    """Notes a measurement for the next log, and adds it to the stage's sums."""
    cosines = {name: each.numpy() for name, each in seen.cosines().items()}
    for k, task in enumerate(old):
        name = run.sequence.names[task]
        own = [cosines["all"][:, k], predicted[:, k + 1].numpy(), measured[:, k + 1].numpy()]
        for what, values in zip(("cosine", "predicted", "measured"), own, strict=True):
            run.history.note(f"interference/{what}/{name}", values)
        for layer, values in cosines.items():
            if layer != "all":
                run.history.note(f"interference/cosine_by_layer/{name}/{layer}", values[:, k])
        sums = run.history.interference.setdefault(f"{run.clock.stage}/{task}", [0.0] * 4)
        sums[:] = np.add(sums, [1, *(each.mean(dtype=float) for each in own)]).tolist()


def per_stage(run: Run) -> list[dict[str, Any]]:
    """For summary.json: in each stage, what a round of steps did to each old task on average."""
    found = []
    for key, (looks, *sums) in run.history.interference.items():
        stage, task = map(int, key.split("/"))
        means = dict(zip(("cosine", "predicted", "measured"), np.divide(sums, looks), strict=True))
        found.append(
            {
                "stage": stage,
                "learning": run.sequence.names[run.sequence.stages[stage].task],
                "old": run.sequence.names[task],
                "looks": round(looks),
                **{name: float(mean) for name, mean in means.items()},
            }
        )
    return found
