"""DQN unlearns CartPole after solving it. Is it because the memory runs out of failures?

    python examples/unlearning.py --members 10 --out unlearning.png

Once the pole stands, recent steps show nothing but a standing pole, and what a falling one is worth
may be overwritten. Two memories of equal size, all else the same: recent steps only, or half of
them and half a uniform sample of everything since the start. Beside them a memory of all steps.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments import Config, train

SOLVED, LOST = 475, 300


def memories(rows: int) -> dict[str, dict[str, Any]]:
    """Two ways to keep as many rows, and all of them."""
    half = {"capacity": rows // 2, "rows_per_task": rows - rows // 2, "draw_current": True}
    return {
        f"{rows:,} recent steps": {"buffer": "fifo", "capacity": rows},
        f"{rows:,}, half of them a reservoir": half,
        "all steps": {"buffer": "fifo", "capacity": 1_000_000},
    }


def run(changes: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Steps of each evaluation `[points]`, and greedy returns `[points, members]`."""
    result = train(Config(**changes))
    seen = result.summary["evaluations"]
    return np.array(seen["steps"]), np.array(seen["scores"])[:, :, 0]


def unlearned(scores: np.ndarray) -> tuple[int, float]:
    """Members that solved the task, and the share of their later evaluations that are lost."""
    solved = np.maximum.accumulate(scores >= SOLVED)[:-1]
    later = scores[1:][solved]
    return int(solved.any(axis=0).sum()), float((later < LOST).mean()) if len(later) else 0.0


def draw(curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Every member, and their mean."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    panels = figure.subplots(1, len(curves), sharey=True)
    for axes, (name, (steps, scores)) in zip(panels, curves.items(), strict=True):
        axes.plot(steps, scores, color="tab:blue", alpha=0.25, linewidth=0.8)
        axes.plot(steps, scores.mean(1), color="tab:blue", linewidth=2)
        axes.set(title=name, xlabel="environment steps")
    panels[0].set_ylabel("CartPole, greedy return")
    return figure


def main(rows: int, steps: int, members: int, out: Path, **changes: Any) -> None:
    """Trains with each memory, prints what was unlearned, and draws it."""
    common = {
        "envs": f"CartPole:{steps}", "seeds": members, "methods": "none", "n_step": 3,
        "learning_rate": 5e-4, "learning_rate_end": 5e-4, "epsilon_end": 0.01,
        "eval_interval": max(steps // 40, 1),
    } | changes  # fmt: skip
    curves = {name: run(common | own) for name, own in memories(rows).items()}
    for name, (_, scores) in curves.items():
        solved, lost = unlearned(scores)
        print(f"{name}: {solved} of {members} members solved it; {lost:.0%} of their later")
        print(f"  evaluations are below {LOST}; mean at the end {scores[-1].mean():.0f}")
    draw(curves).savefig(out, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000, help="of the whole memory")
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the first member")
    parser.add_argument("--out", type=Path, default=Path("unlearning.png"))
    given = parser.parse_args()
    main(given.rows, given.steps, given.members, given.out, seed=given.seed)
