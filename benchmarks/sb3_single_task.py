"""Stable-Baselines3's DQN with its zoo's settings, on single tasks: the peer's half of a table.

    python benchmarks/sb3_single_task.py --env CartPole-v1 --steps 50000 --out FILE.json

Settings: rl-baselines3-zoo, hyperparams/dqn.yml. Returns: greedy, 20 episodes after training.
"""

import argparse
import json
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor

SHARED = {"policy": "MlpPolicy", "policy_kwargs": {"net_arch": [256, 256]}}
SLOW = SHARED | {
    "learning_rate": 6.3e-4,
    "batch_size": 128,
    "buffer_size": 50_000,
    "learning_starts": 0,
    "gamma": 0.99,
    "target_update_interval": 250,
    "train_freq": 4,
    "gradient_steps": -1,
    "exploration_fraction": 0.12,
    "exploration_final_eps": 0.1,
}
ZOO = {
    "CartPole-v1": SHARED
    | {
        "learning_rate": 2.3e-3,
        "batch_size": 64,
        "buffer_size": 100_000,
        "learning_starts": 1_000,
        "gamma": 0.99,
        "target_update_interval": 10,
        "train_freq": 256,
        "gradient_steps": 128,
        "exploration_fraction": 0.16,
        "exploration_final_eps": 0.04,
    },
    "MountainCar-v0": SHARED
    | {
        "learning_rate": 4e-3,
        "batch_size": 128,
        "buffer_size": 10_000,
        "learning_starts": 1_000,
        "gamma": 0.98,
        "target_update_interval": 600,
        "train_freq": 16,
        "gradient_steps": 8,
        "exploration_fraction": 0.2,
        "exploration_final_eps": 0.07,
    },
    "Acrobot-v1": SLOW,
    "LunarLander-v3": SLOW,
}


def train_one(env_id: str, steps: int, seed: int, episodes: int) -> tuple[float, float]:
    """Greedy return after training, and the seconds that training took."""
    model = DQN(env=gym.make(env_id), seed=seed, device="cpu", **ZOO[env_id])
    model.set_logger(Logger(None, []))  # SB3's own leaves a folder behind
    start = time.perf_counter()
    model.learn(steps)
    seconds = time.perf_counter() - start
    env = Monitor(gym.make(env_id))
    env.reset(seed=1_000_000 + seed)
    returns, _ = evaluate_policy(model, env, episodes, return_episode_rewards=True)
    return float(np.mean(returns)), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", choices=sorted(ZOO), required=True)
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    result = {"env": args.env, "steps": args.steps, "returns": [], "seconds": []}
    for seed in range(args.seeds):
        score, seconds = train_one(args.env, args.steps, seed, args.episodes)
        result["returns"].append(score)
        result["seconds"].append(seconds)
        args.out.write_text(json.dumps(result, indent=1))
        print(f"{args.env} seed {seed}: {score:.1f} in {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
