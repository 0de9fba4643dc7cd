"""Runs: the loop, evaluation, metrics, checkpoints, TensorBoard.

from experiments import Config, train

result = train(Config(envs="CartPole,Acrobot"))
"""

from experiments.config import Config
from experiments.training import Result, Stopped, train

__all__ = ["Config", "Result", "Stopped", "train"]
