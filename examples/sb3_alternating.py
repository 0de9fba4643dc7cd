"""Stable-Baselines3's DQN on a cart-pole whose pole changes again and again: who remembers?

    pip install 'retain-rl[sb3]'
    python examples/sb3_alternating.py

A long pole and a short one take turns. The same DQN learns with SB3's own replay buffer and with
memories of this library that hold as many rows; the picture shows how long either pole is kept up.
"""

import argparse
import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback, EveryNTimesteps
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor

from buffers.adapters.sb3 import MemoryReplayBuffer

POLES = {"long pole": 2.0, "short pole": 0.1}  # half lengths; Gymnasium's is 0.5
ROWS = 5_000
HALF = {"rows_per_task": ROWS // 4}  # of two poles: half of the rows
MEMORIES = {
    "SB3's own": {"buffer_size": ROWS},
    "reservoir": {"buffer_size": ROWS, "memory": "reservoir"},
    "hybrid": {"buffer_size": ROWS // 2, "memory": "hybrid", **HALF},
}
# rl-baselines3-zoo's settings for CartPole, but for a smaller network and longer exploration.
SETTINGS = {
    "learning_rate": 2.3e-3,
    "batch_size": 64,
    "learning_starts": 1_000,
    "target_update_interval": 10,
    "train_freq": 256,
    "gradient_steps": 128,
    "exploration_fraction": 0.2,
    "exploration_final_eps": 0.04,
}


class Poles(gym.Wrapper):
    """Changes the pole at the first reset after every `phase` steps, and says which it is."""

    def __init__(self, phase: int):
        super().__init__(gym.make("CartPole-v1"))
        self.phase, self.steps, self.task = phase, 0, 0

    def reset(self, **kwargs):
        self.task = self.steps // self.phase % len(POLES)
        change_pole(self.unwrapped, list(POLES.values())[self.task])
        return self.env.reset(**kwargs)

    def step(self, action):
        self.steps += 1
        *result, info = self.env.step(action)
        return *result, info | {"task": self.task}


def change_pole(cart_pole, length):
    cart_pole.length = length
    cart_pole.polemass_length = cart_pole.masspole * length


def exam(length, seed):
    """An environment to be scored in, which training neither sees nor pays for."""
    env = Monitor(gym.make("CartPole-v1"))
    change_pole(env.unwrapped, length)
    env.reset(seed=1_000 + seed)
    return env


class Scores(BaseCallback):
    """Notes the greedy return at every pole."""

    def __init__(self, seed, episodes):
        super().__init__()
        self.exams, self.episodes = [exam(length, seed) for length in POLES.values()], episodes
        self.steps, self.returns = [], []

    def _on_step(self):
        self.steps.append(self.num_timesteps)
        scores = [evaluate_policy(self.model, env, self.episodes)[0] for env in self.exams]
        self.returns.append([float(score) for score in scores])
        return True


def train(memory, phase, phases, seed, interval, episodes):
    """Steps of the evaluations, and returns `[evaluations, poles]`."""
    options = dict(memory)
    size = options.pop("buffer_size")
    if options:
        options = {"replay_buffer_class": MemoryReplayBuffer, "replay_buffer_kwargs": options}
    model = DQN(
        "MlpPolicy",
        Poles(phase),
        buffer_size=size,
        policy_kwargs={"net_arch": [64, 64]},
        device="cpu",
        seed=seed,
        **SETTINGS,
        **options,
    )
    scores = Scores(seed, episodes)
    model.set_logger(Logger(None, []))  # SB3's own leaves a folder behind
    model.learn(phase * phases, callback=EveryNTimesteps(interval, scores))
    return scores.steps, scores.returns


def draw(results, phase, phases, file):
    """A panel per pole, a curve per memory; the pole in training has a grey ground."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(POLES), sharex=True, figsize=(8, 5))
    for pole, (name, axis) in enumerate(zip(POLES, axes, strict=True)):
        for first in range(pole, phases, len(POLES)):
            axis.axvspan(first * phase, (first + 1) * phase, color="0.9")
        for memory, result in results.items():
            returns = np.array(result["returns"])[:, :, pole]  # [seeds, evaluations]
            (line,) = axis.plot(result["steps"], returns.mean(0), label=memory)
            for one in returns:
                axis.plot(result["steps"], one, color=line.get_color(), alpha=0.25, linewidth=0.8)
        axis.set(ylabel=f"{name}\ngreedy return", ylim=(0, 510))
    axes[-1].set_xlabel("environment steps (grey: this pole is trained on)")
    axes[0].legend(loc="upper left")
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def kept(result, phase):
    """Each seed's mean return at the pole that is not in training, from the first change on."""
    steps, returns = np.array(result["steps"]), np.array(result["returns"])
    other = 1 - ((steps - 1) // phase) % len(POLES)
    scores = returns[:, np.arange(len(steps)), other]
    return scores[:, steps > phase].mean(1)


def main(phase=10_000, phases=4, seeds=3, interval=1_000, episodes=5, out=Path("runs")):
    """Trains with each memory, prints what is kept, and draws the picture."""
    torch.set_num_threads(1)
    results = {}
    for name, memory in MEMORIES.items():
        runs = [train(memory, phase, phases, seed, interval, episodes) for seed in range(seeds)]
        results[name] = {"steps": runs[0][0], "returns": [returns for _, returns in runs]}
        means = kept(results[name], phase)
        shown = ", ".join(f"{value:.0f}" for value in means)
        print(f"{name:>10}: {means.mean():.0f} at the pole not in training ({shown})", flush=True)
    draw(results, phase, phases, out / "sb3_alternating.png")
    (out / "sb3_alternating.json").write_text(json.dumps(results))
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    main(**vars(parser.parse_args()))
