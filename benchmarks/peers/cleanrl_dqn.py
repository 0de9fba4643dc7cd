"""A DQN of one script as CleanRL writes them: plain modules, a vector of one environment.

Other than CleanRL's `dqn.py` it has the Huber loss and clips gradients, as the other peers do, and
its replay buffer is one array per column.
"""

from itertools import pairwise

import gymnasium as gym
import numpy as np
import torch
from torch import nn

from peers import Outcome, Setting, evaluate, now
from peers.ring import Ring


class QNetwork(nn.Sequential):
    """Two hidden layers with ReLU, PyTorch's initial weights."""

    def __init__(self, inputs: int, hidden: int, actions: int) -> None:
        sizes = (inputs, hidden, hidden, actions)
        first, second, third = (nn.Linear(i, o) for i, o in pairwise(sizes))
        super().__init__(first, nn.ReLU(), second, nn.ReLU(), third)


def train(setting: Setting) -> Outcome:
    """The script's loop."""
    torch.manual_seed(setting.seed)
    rng = np.random.default_rng(setting.seed)
    mode = gym.vector.AutoresetMode.SAME_STEP  # no step is only a reset
    envs = gym.vector.SyncVectorEnv([lambda: gym.make(setting.env_id)], autoreset_mode=mode)
    inputs = int(np.prod(envs.single_observation_space.shape))
    actions = int(envs.single_action_space.n)
    network = QNetwork(inputs, setting.hidden, actions)
    target_network = QNetwork(inputs, setting.hidden, actions)
    target_network.load_state_dict(network.state_dict())
    optimizer = torch.optim.Adam(
        network.parameters(), lr=setting.learning_rate, eps=setting.adam_epsilon
    )
    buffer = Ring(setting.capacity, inputs, rng)
    updates = 0
    obs, _ = envs.reset(seed=setting.seed)
    start = now()
    for step in range(setting.steps):
        if rng.random() < setting.epsilon(step):
            action = rng.integers(actions, size=1)
        else:
            with torch.no_grad():
                action = network(torch.from_numpy(obs)).argmax(1).numpy()
        next_obs, reward, terminated, truncated, infos = envs.step(action)
        ended = terminated[0] or truncated[0]
        last_obs = infos["final_obs"][0] if ended else next_obs[0]
        buffer.add(obs[0], action[0], reward[0], last_obs, terminated[0])
        obs = next_obs
        if step >= setting.learning_starts:
            batch = tuple(map(torch.from_numpy, buffer.sample(setting.batch_size)))
            update(network, target_network, optimizer, batch, setting)
            updates += 1
        if step % setting.target_interval == 0:
            target_network.load_state_dict(network.state_dict())
    seconds = now() - start
    envs.close()

    @torch.no_grad()
    def greedy(obs: np.ndarray) -> int:
        return int(network(torch.from_numpy(obs)).argmax())

    return Outcome(setting.steps, updates, seconds, [evaluate(greedy, setting)])


def update(
    network: nn.Module,
    target_network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: tuple[torch.Tensor, ...],
    setting: Setting,
) -> None:
    """One gradient step."""
    state, action, reward, next_state, done = batch
    with torch.no_grad():
        following = target_network(next_state).max(dim=1).values
        goal = reward + setting.discount * following * (1 - done)
    taken = network(state).gather(1, action[:, None])[:, 0]
    loss = nn.functional.smooth_l1_loss(taken, goal)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), setting.gradient_clip)
    optimizer.step()
