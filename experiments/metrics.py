"""What was learned, kept and passed on: the field's metrics from one matrix of scores.

`scores[member, row, task]`: row 0 is before training, row i after stage i. With R the scores of one
member, N tasks, e(i) the row after the last stage on task i, and b(i) the row before its first:

    average performance   1/N sum_i R[last, i]
    forgetting            1/N sum_i (R[e(i), i] - R[last, i])                          [1]
    forgetting (max)      1/(N-1) sum_{i not last} (max_{0<row<last} R[row, i] - R[last, i])  [2]
    backward transfer     1/(N-1) sum_{i not last} (R[last, i] - R[e(i), i])           [3]
    forward transfer      1/(N-1) sum_{i not first} (R[b(i), i] - R[0, i])             [3]
    retention             mean over i not last of (R[last, i] - z_i) / (R[e(i), i] - z_i)

[1] Wolczyk et al. 2021, arXiv 2105.10919; [2] Chaudhry et al. 2018, 1801.10112; [3] Lopez-Paz and
Ranzato 2017, 1706.08840. Returns of unlike tasks are comparable only on a common scale: 0 is z_i,
the return of a random policy, and 1 the task's reference (see `normalize`). Retention needs no
reference; it is not defined (nan) for a task that was never better than random.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np


def normalize(
    scores: np.ndarray, random: Sequence[float], reference: Sequence[float]
) -> np.ndarray:
    """Scores with 0 for a random policy and 1 for the reference, per task.

    Raises:
        ValueError: A reference no better than random.
    """
    low, high = np.asarray(random, float), np.asarray(reference, float)
    if (high <= low).any():
        raise ValueError(f"references {high.tolist()} must be above random {low.tolist()}")
    return (scores - low) / (high - low)


def member_metrics(scores: np.ndarray, stages: Sequence[int]) -> dict[str, np.ndarray]:
    """Each metric of each member, `[members]`.

    Args:
        scores: On a common scale, `[members, stages + 1, tasks]`.
        stages: The task of each stage.
    """
    last, tasks = scores[:, -1], range(scores.shape[2])
    learned = learned_scores(scores, stages)
    before = np.stack([scores[:, stages.index(i), i] for i in tasks], axis=1)
    peak = scores[:, 1 : max(2, scores.shape[1] - 1)].max(1)
    old = [i for i in tasks if i != stages[-1]]
    new = [i for i in tasks if i != stages[0]]
    return {
        "average_performance": last.mean(1),
        "forgetting": (learned - last).mean(1),
        "forgetting_max": _mean(peak - last, old),
        "backward_transfer": _mean(last - learned, old),
        "forward_transfer": _mean(before - scores[:, 0], new),
        "retention": _mean(_ratio(last, learned), old),
    }


def learned_scores(scores: np.ndarray, stages: Sequence[int]) -> np.ndarray:
    """Each task's score right after its last stage, `[members, tasks]`."""
    tasks = range(scores.shape[2])
    return np.stack([scores[:, row_after(stages, i), i] for i in tasks], axis=1)


def row_after(stages: Sequence[int], task: int) -> int:
    """The row of the score matrix right after a task's last stage."""
    return len(stages) - list(reversed(stages)).index(task)


def interval(values: np.ndarray) -> dict[str, float | None]:
    """Mean and 95% t-interval over members; nan members are left out."""
    from scipy.special import stdtrit  # here, since it takes long to import

    values = values[np.isfinite(values)]
    if len(values) == 0:
        return {"mean": None, "low": None, "high": None}
    mean = float(values.mean())
    if len(values) == 1:
        return {"mean": mean, "low": None, "high": None}
    error = values.std(ddof=1) / len(values) ** 0.5
    half = float(stdtrit(len(values) - 1, 0.975) * error)
    return {"mean": mean, "low": mean - half, "high": mean + half}


def summarize(scores: np.ndarray, stages: Sequence[int]) -> dict[str, Any]:
    """Every metric with its interval."""
    return {name: interval(values) for name, values in member_metrics(scores, stages).items()}


def _mean(values: np.ndarray, tasks: list[int]) -> np.ndarray:
    return values[:, tasks].mean(1) if tasks else np.full(len(values), np.nan)


def _ratio(last: np.ndarray, learned: np.ndarray) -> np.ndarray:
    return np.divide(last, learned, out=np.full_like(last, np.nan), where=learned > 1e-9)
