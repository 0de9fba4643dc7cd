"""Training steps of Stable-Baselines3 that heed importance weights and report TD errors.

SB3's own ignore both, so that prioritised replay cannot work with them. They reduce the loss to one
number before anybody can weight its rows; the steps are therefore restated, from SB3's `DQN`, `SAC`
and `TD3` and sb3-contrib's `QRDQN` and `TQC` (2.9, MIT licence). With all weights 1 they give the
same bits.

with_feedback(SAC)("MlpPolicy", env, replay_buffer_class=MemoryReplayBuffer,
                   replay_buffer_kwargs={"memory": "prioritized"})

What is weighted: each row's loss of the Q values, in all of them. What is not: SAC's, TQC's and
TD3's loss of the actor and SAC's and TQC's of the entropy coefficient, which stay means over the
rows as they were drawn. Weights correct what a Q value is regressed to; that an actor is trained
on prioritised states is so too in Tianshou and in Fujimoto et al. (2020).

The TD error of a row: target minus Q value; of several critics, that of the critic which is
furthest off (Fujimoto et al., 2020, "An Equivalence between Loss Functions and Non-Uniform
Sampling"); of quantiles, that of their mean. Where there is an entropy term, the target has it.
"""

from collections.abc import Iterator
from functools import cache
from typing import TypeVar

from stable_baselines3 import DQN, SAC, TD3
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from buffers.adapters.sb3.critic_steps import DelayedStep, SoftStep, TruncatedStep
from buffers.adapters.sb3.step import Step
from buffers.adapters.sb3.value_steps import ExpectedStep, QuantileStep

Algorithm = TypeVar("Algorithm", bound=OffPolicyAlgorithm)


@cache
def with_feedback(algorithm: type[Algorithm]) -> type[Algorithm]:
    """The algorithm with a training step that hears and tells how much each row matters.

    A row's loss is multiplied by its weight (Schaul et al., 2016, section 3.4), and its TD error is
    given to the replay buffer's `feedback`. The module says what is weighted and what is not.

    Args:
        algorithm: `DQN`, `QRDQN`, `SAC`, `TD3`, `DDPG`, `TQC`, or a class that trains as they do.

    Returns:
        A subclass, to be used and loaded in its stead; it needs a `MemoryReplayBuffer`.

    Raises:
        ValueError: The algorithm has a training step of its own, such as CrossQ's.
    """
    step = next((step for known, step in _steps() if algorithm.train is known.train), None)
    if step is None:
        raise ValueError(
            f"{algorithm.__name__} has a training step of its own: "
            "feedback is there for those of DQN, QRDQN, SAC, TD3, DDPG and TQC"
        )
    return type(algorithm.__name__, (step, algorithm), {})


def _steps() -> Iterator[tuple[type[OffPolicyAlgorithm], type[Step]]]:
    """Algorithms, and their training steps here; DDPG's is TD3's."""
    yield DQN, ExpectedStep
    yield SAC, SoftStep
    yield TD3, DelayedStep
    try:
        from sb3_contrib import QRDQN, TQC
    except ModuleNotFoundError:
        return
    yield QRDQN, QuantileStep
    yield TQC, TruncatedStep
