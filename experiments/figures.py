"""Pictures for TensorBoard: the score matrix, and every task's returns with the switches marked."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure


def score_matrix(
    scores: np.ndarray, shares: np.ndarray, names: Sequence[str], rows: Sequence[str]
) -> Figure:
    """The mean score of each task (column) before training and after each stage (row).

    Args:
        scores: Mean returns, `[rows, tasks]`, written in the cells.
        shares: The same on a common scale, 0 a random policy, 1 the reference: the colour.
        names: The tasks.
        rows: What each row comes after.
    """
    figure = Figure(figsize=(2.2 + 1.3 * len(names), 1.6 + 0.55 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(np.clip(shares, 0, 1), vmin=0, vmax=1, cmap="viridis", aspect="auto")
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_title("greedy return (colour: 0 random, 1 reference)", fontsize=9)
    for row, column in np.ndindex(*scores.shape):
        colour = "white" if shares[row, column] <= 0.6 else "black"  # nan has no colour behind it
        text = f"{scores[row, column]:.1f}"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=10)
    figure.colorbar(image, ax=axes, shrink=0.8)
    return figure


def learning_curves(
    steps: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str],
    stages: Sequence[tuple[int, int, int]],
) -> Figure:
    """Greedy returns of every task over the whole sequence, one panel a task.

    Args:
        steps: Environment steps of each evaluation, `[points]`.
        scores: `[points, members, tasks]`.
        names: The tasks.
        stages: First step, last step and task of each stage; shaded where the panel's task trains.
    """
    figure = Figure(figsize=(8, 1.9 * len(names) + 0.4), layout="constrained")
    panels = figure.subplots(len(names), sharex=True, squeeze=False)[:, 0]
    for task, axes in enumerate(panels):
        mean = scores[:, :, task].mean(1)
        axes.plot(steps, scores[:, :, task], color="tab:blue", alpha=0.2, linewidth=0.8)
        axes.plot(steps, mean, color="tab:blue", linewidth=1.8)
        for first, last, trained in stages:
            axes.axvline(last, color="grey", linewidth=0.8, linestyle="--")
            if trained == task:
                label = None if axes.patches else "in training"  # once, however many visits
                axes.axvspan(first, last, color="tab:orange", alpha=0.15, label=label)
        axes.set_title(names[task], fontsize=9, loc="left")
        if any(trained == task for _, _, trained in stages):
            axes.legend(fontsize=7, loc="lower right")
    panels[-1].set_xlabel("environment steps")
    figure.supylabel("greedy return", fontsize=9)
    return figure
