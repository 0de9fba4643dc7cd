"""A DQN of one file in CleanRL's style, with one of our memories where its replay buffer was.

Run it with `python examples/cleanrl_dqn.py`; `--help` lists its settings. It takes half a minute
on one core. The mean return of the last 50 episodes, 5% of whose actions are random, was 243, 158
and 132 with the seeds 1, 2 and 3 (on another processor, whose sums round differently, 242, 371 and
143); that of the first 50 was 19 to 22.
"""

from dataclasses import dataclass
from itertools import pairwise

import gymnasium as gym
import numpy as np
import torch
import tyro
from torch import nn

from buffers import HybridBuffer
from buffers.adapters.cleanrl import ReplayBuffer, columns


@dataclass
class Args:
    env_id: str = "CartPole-v1"
    seed: int = 1
    num_envs: int = 1
    total_timesteps: int = 40_000
    learning_rate: float = 1e-3
    buffer_size: int = 5_000
    gamma: float = 0.99
    target_network_frequency: int = 500  # steps
    batch_size: int = 128
    start_e: float = 1.0
    end_e: float = 0.05
    exploration_fraction: float = 0.25  # of all steps, over which epsilon falls
    learning_starts: int = 1_000
    train_frequency: int = 2  # steps per update


class QNetwork(nn.Sequential):
    def __init__(self, envs: gym.vector.VectorEnv, generator: torch.Generator) -> None:
        inputs = int(np.prod(envs.single_observation_space.shape))
        sizes = (inputs, 120, 84, int(envs.single_action_space.n))
        layers = [nn.Linear(i, o) for i, o in pairwise(sizes)]
        for layer in layers:
            nn.init.orthogonal_(layer.weight, 2**0.5, generator)
            nn.init.zeros_(layer.bias)
        super().__init__(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


def make_envs(args: Args) -> gym.vector.SyncVectorEnv:
    # In this mode an episode's last observation is in the infos, and no step is only a reset.
    mode = gym.vector.AutoresetMode.SAME_STEP
    makers = [lambda: gym.make(args.env_id)] * args.num_envs
    return gym.vector.SyncVectorEnv(makers, autoreset_mode=mode)


def linear_schedule(start: float, end: float, duration: float, t: int) -> float:
    return max(end, start + (end - start) * t / duration)


def train(args: Args) -> list[float]:
    """Returns the return of every episode."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rng = np.random.default_rng(args.seed)
    envs = make_envs(args)
    generator = torch.Generator().manual_seed(args.seed)
    q_network = QNetwork(envs, generator).to(device)
    target_network = QNetwork(envs, generator).to(device)
    target_network.load_state_dict(q_network.state_dict())
    optimizer = torch.optim.Adam(q_network.parameters(), lr=args.learning_rate)
    spaces = envs.single_observation_space, envs.single_action_space

    # It was: rb = ReplayBuffer(args.buffer_size, *spaces, device, handle_timeout_termination=False)
    # The newest rows until `memory.end_task()` is called; from then on rows of earlier tasks too.
    memory = HybridBuffer(args.buffer_size, seed=args.seed, **columns(*spaces))
    rb = ReplayBuffer(memory, device)

    returns, running = [], np.zeros(args.num_envs)
    obs, _ = envs.reset(seed=args.seed)
    for step in range(args.total_timesteps // args.num_envs):
        duration = args.exploration_fraction * args.total_timesteps / args.num_envs
        epsilon = linear_schedule(args.start_e, args.end_e, duration, step)
        with torch.no_grad():
            actions = q_network(torch.from_numpy(obs).to(device)).argmax(1).cpu().numpy()
        explore = rng.random(args.num_envs) < epsilon
        random_actions = rng.integers(envs.single_action_space.n, size=args.num_envs)
        actions = np.where(explore, random_actions, actions)

        next_obs, rewards, terminations, truncations, infos = envs.step(actions)
        real_next_obs = next_obs.copy()
        for i in np.flatnonzero(terminations | truncations):
            real_next_obs[i] = infos["final_obs"][i]
        rb.add(obs, real_next_obs, actions, rewards, terminations, infos)
        obs = next_obs

        running += rewards
        ended = terminations | truncations
        returns += running[ended].tolist()
        running[ended] = 0

        if step >= args.learning_starts and step % args.train_frequency == 0:
            data = rb.sample(args.batch_size)
            with torch.no_grad():
                target_max = target_network(data.next_observations).max(dim=1).values
                td_target = data.rewards.flatten() + args.gamma * target_max * (
                    1 - data.dones.flatten()
                )
            old_val = q_network(data.observations).gather(1, data.actions).squeeze(1)
            loss = nn.functional.mse_loss(td_target, old_val)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if step % args.target_network_frequency == 0:
            target_network.load_state_dict(q_network.state_dict())
    envs.close()
    return returns


if __name__ == "__main__":
    returns = train(tyro.cli(Args))
    print(f"{len(returns)} episodes; mean return of the first 50: {np.mean(returns[:50]):.0f}")
    print(f"mean return of the last 50: {np.mean(returns[-50:]):.0f}")
