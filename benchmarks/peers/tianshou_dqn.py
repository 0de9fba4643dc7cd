"""Tianshou 2's DQN: its collector, buffer and algorithm in a loop of our own.

Its trainer is left out: it would look through the whole buffer for missing values after every
collected step. It computes the online network's Q values of the next states without using them.
"""

import logging
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from tianshou.algorithm import DQN, Algorithm
from tianshou.algorithm.algorithm_base import policy_within_training_step
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory, OptimizerFactory
from tianshou.data import Batch, Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.utils.net.common import Net
from tianshou.utils.torch_utils import torch_train_mode

from peers import Outcome, Setting, evaluate, now


class ClippedDQN(DQN):
    """Its DQN with the limit on the gradient that its other algorithms have."""

    def __init__(self, max_grad_norm: float, **options: Any) -> None:
        self.max_grad_norm = max_grad_norm
        super().__init__(**options)

    def _create_policy_optimizer(self, optim: OptimizerFactory) -> Algorithm.Optimizer:
        return self._create_optimizer(self.policy, optim, max_grad_norm=self.max_grad_norm)


def train(setting: Setting) -> Outcome:
    """One collected step, one update."""
    logging.getLogger("tianshou").setLevel(logging.ERROR)
    torch.manual_seed(setting.seed)
    np.random.seed(setting.seed)  # noqa: NPY002  # what Tianshou draws from
    envs = DummyVectorEnv([lambda: gym.make(setting.env_id)])
    envs.seed(setting.seed)
    algorithm, policy = make_algorithm(setting)
    buffer = VectorReplayBuffer(setting.capacity, 1)
    collector = Collector(algorithm, envs, buffer, exploration_noise=True)
    collector.reset()
    updates = 0
    start = now()
    with policy_within_training_step(policy), torch_train_mode(algorithm):
        for step in range(setting.steps):
            policy.set_eps_training(setting.epsilon(step))
            collector.collect(n_step=1)
            if step >= setting.learning_starts:
                algorithm.update(buffer=buffer, sample_size=setting.batch_size)
                updates += 1
    seconds = now() - start
    envs.close()

    @torch.no_grad()
    def greedy(obs: np.ndarray) -> int:
        return int(policy(Batch(obs=obs[None], info=None)).act[0])

    return Outcome(setting.steps, updates, seconds, [evaluate(greedy, setting)])


def make_algorithm(setting: Setting) -> tuple[DQN, DiscreteQLearningPolicy]:
    """The algorithm, and the policy in it."""
    env = gym.make(setting.env_id)
    hidden = [setting.hidden] * 2
    net = Net(
        state_shape=env.observation_space.shape,
        action_shape=env.action_space.n,
        hidden_sizes=hidden,
    )
    policy = DiscreteQLearningPolicy(
        model=net, action_space=env.action_space, observation_space=env.observation_space
    )
    optim = AdamOptimizerFactory(lr=setting.learning_rate, eps=setting.adam_epsilon)
    algorithm = ClippedDQN(
        setting.gradient_clip,
        policy=policy,
        optim=optim,
        gamma=setting.discount,
        target_update_freq=setting.target_interval,
        is_double=False,
        huber_loss_delta=1.0,
    )
    return algorithm, policy
