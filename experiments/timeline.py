"""A run's stages and evaluations along the environment steps of each member."""

import numpy as np

from experiments.run import Run


def evaluations(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Every evaluation so far: total steps `[points]`, scores `[points, members, tasks]`."""
    between = [run.first_step(row) for row in range(len(run.history.scores))]
    points = list(zip(between, run.history.scores, strict=True))
    points += [(step, scores) for step, _, scores in run.history.curve]
    points.sort(key=lambda point: point[0])
    return np.array([step for step, _ in points]), np.array([scores for _, scores in points])


def finished_stages(run: Run) -> list[tuple[int, int, int]]:
    """First step, last step and task of each stage that is over."""
    stages = enumerate(run.sequence.stages[: run.clock.stage])
    return [(run.first_step(k), run.first_step(k + 1), stage.task) for k, stage in stages]
