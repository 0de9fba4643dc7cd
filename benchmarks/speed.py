"""Wall time of a run, beside SB3's DQN doing the same work, one after the other in one process.

    python benchmarks/speed.py

The same work: CartPole then Acrobot, as many environment steps, 8 environments, a 64-64 network,
batches of 128, one gradient step per two environment steps, Adam. Ours does more: Double DQN,
n-step rows, distillation, TensorBoard, checkpoints and, unless --bare, evaluation of every task.
Returns stand beside the times: fast and not learning is worthless.
"""

import argparse
import time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from experiments import Config, train


def ours(steps: int, seed: int, logdir: str, bare: bool) -> tuple[float, list[float]]:
    """Seconds, and the return of each task right after it was learned."""
    extra = {"eval_interval": 0} if bare else {}
    config = Config(
        envs="CartPole,Acrobot", steps=steps, seed=seed, logdir=logdir, name="speed",
        overwrite=True, **extra,
    )  # fmt: skip
    start = time.perf_counter()
    result = train(config)
    seconds = time.perf_counter() - start
    return seconds, [float(result.scores[0, task + 1, task]) for task in range(2)]


def sb3(steps: int, seed: int) -> tuple[float, list[float]]:
    """The same for SB3, which needs an agent per task since the spaces differ."""
    seconds, returns = 0.0, []
    for env_id in ("CartPole-v1", "Acrobot-v1"):
        model = DQN(
            "MlpPolicy", make_vec_env(env_id, 8, seed=seed), learning_rate=1e-3, batch_size=128,
            buffer_size=50_000, learning_starts=1_000, gamma=0.99, train_freq=1, gradient_steps=4,
            target_update_interval=250, exploration_fraction=0.2, exploration_final_eps=0.05,
            policy_kwargs={"net_arch": [64, 64]}, seed=seed, device="cpu",
        )  # fmt: skip
        start = time.perf_counter()
        model.learn(steps)
        seconds += time.perf_counter() - start
        score, _ = evaluate_policy(model, make_vec_env(env_id, 1, seed=seed + 1_000_000), 20)
        returns.append(float(np.asarray(score)))
    return seconds, returns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50_000, help="of each task")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--logdir", default="runs/benchmarks")
    parser.add_argument("--bare", action="store_true", help="no evaluation between switches")
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(title=f"CartPole, Acrobot: {args.steps:,} steps each, one member, one thread")
    for column in ("agent", "seconds", "steps/s", "CartPole", "Acrobot", "ratio to SB3"):
        table.add_column(column)
    peer = sb3(args.steps, args.seed)
    mine = ours(args.steps, args.seed, args.logdir, args.bare)
    for name, (seconds, returns) in (("SB3 DQN", peer), ("Retain, defaults", mine)):
        scores = [f"{value:.0f}" for value in returns]
        rate, ratio = f"{2 * args.steps / seconds:,.0f}", f"{peer[0] / seconds:.2f}"
        table.add_row(name, f"{seconds:.0f}", rate, *scores, ratio)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
