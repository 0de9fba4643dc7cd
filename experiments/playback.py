"""A run's checkpoint, evaluated; the run may be going on."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.checkpoint import load_checkpoint, load_newest
from experiments.folders import find_run, load_config
from experiments.metrics import interval
from experiments.parallel.joined import MEMBERS, shared_out
from experiments.run import Run

LOG = logging.getLogger("retain")


@dataclass(frozen=True)
class Scores:
    """Scores of a checkpoint.

    Attributes:
        tasks: Names.
        returns: `[members, tasks]`.
        steps: Environment steps that each member had trained for; those of the one furthest back.
    """

    tasks: list[str]
    returns: np.ndarray
    steps: int


def load_run(name: str, logdir: str, checkpoint: Path | None, quiet: bool = False) -> Run:
    """A run as it was at a checkpoint (default: the newest that is whole), to be evaluated.

    Unless it is `quiet`, it says which newer ones are damaged.

    Raises:
        ValueError: No such run, or its checkpoint is damaged or of another configuration.
    """
    folder = find_run(name, logdir)
    run = Run(load_config(folder), folder)
    if checkpoint:
        state = load_checkpoint(checkpoint)
    else:
        path, state, problems = load_newest(folder)
        if not quiet:
            for problem in problems:
                LOG.warning("%s; this is of %s", problem, path)
    try:
        run.config.check_deciding(state["config"])
        run.agent.load_state_dict(state["agent"])
        run.clock.before = state["clock"]["before"] + state["clock"]["step"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"the checkpoint is of another version: no {error}") from None
    return run


def evaluate_run(
    name: str, logdir: str, checkpoint: Path | None, episodes: int, seed: int
) -> Scores:
    """Greedy return of every member at every task.

    Raises:
        ValueError: No such run, or no such checkpoint of it.
    """
    found = []
    for part in parts_of(name, logdir, checkpoint):
        run = load_run(str(part), logdir, checkpoint)
        returns = run.evaluator.score_all(run.agent.greedy, episodes, (2, seed))
        run.close()
        found.append(Scores(run.sequence.names, returns, run.clock.total))
    returns = np.concatenate([scores.returns for scores in found])
    return Scores(found[0].tasks, returns, min(scores.steps for scores in found))


def parts_of(name: str, logdir: str, checkpoint: Path | None) -> list[Path]:
    """The folders of a run's members: its own, unless they trained in several processes.

    Raises:
        ValueError: No such run, or a checkpoint that is of some of its members only.
    """
    folder = find_run(name, logdir)
    config = load_config(folder)
    if config.processes == 1:
        return [folder]
    parts = [folder / MEMBERS / str(part.name) for part in shared_out(config)]
    if checkpoint is not None:
        raise ValueError(f"a checkpoint is of some members: give their folder, as {parts[0]}")
    return parts


def print_scores(console: Console, scores: Scores) -> None:
    """A table: a row per task, a column per member, and the mean."""
    members = scores.returns.shape[0]
    table = Table(title=f"greedy return after {scores.steps:,} steps")
    for column in ("", "mean", *(f"member {m}" for m in range(members) if members > 1)):
        table.add_column(column, justify="right")
    for task, own in zip(scores.tasks, scores.returns.T, strict=True):
        cells = [f"{value:.1f}" for value in own] if members > 1 else []
        table.add_row(task, f"{interval(own)['mean']:.1f}", *cells)
    console.print(table)
