"""Tasks, sequences of tasks, and one space that unlike environments share.

Gymnasium and NumPy only.

    sequence = parse_sequence("CartPole:30000,Acrobot", steps=50_000)
    space = SharedSpace.of(sequence.tasks)
    envs = TaskEnvs(sequence.tasks[0], space, seed=lambda env, episode: env + episode, num_envs=8)
    next_obs, reward, terminated, truncated = envs.step(np.zeros(8, int))
"""

from envs.backends import Vectorization
from envs.episodes import Episodes, make_episodes
from envs.sequence import SEQUENCES, Stage, TaskSequence, parse_sequence
from envs.spaces import SharedSpace
from envs.task import Task, find_task
from envs.vector import NonFiniteData, TaskEnvs
from envs.workers import WorkerCrash

__all__ = [
    "SEQUENCES",
    "Episodes",
    "NonFiniteData",
    "SharedSpace",
    "Stage",
    "Task",
    "TaskEnvs",
    "TaskSequence",
    "Vectorization",
    "WorkerCrash",
    "find_task",
    "make_episodes",
    "parse_sequence",
]
