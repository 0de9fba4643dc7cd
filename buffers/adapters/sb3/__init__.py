"""The memories inside Stable-Baselines3 (Raffin et al., 2021): DQN, QRDQN, SAC, TD3 and the like.

from stable_baselines3 import DQN
from buffers.adapters.sb3 import MemoryLog, MemoryReplayBuffer, with_feedback

model = DQN(
    "MlpPolicy",
    env,
    replay_buffer_class=MemoryReplayBuffer,
    replay_buffer_kwargs={"memory": "hybrid", "rows_per_task": 2_000},
)
model.learn(50_000, callback=MemoryLog())  # what it holds, beside the losses
model.replay_buffer.memory.describe()  # the same, whenever you ask
model.replay_buffer.end_task()  # or let infos["task"] say which task a step is of

with_feedback(SAC)("MlpPolicy", env, ...)  # heeds importance weights, reports TD errors

Rows of several steps: replay_buffer_kwargs={"n_steps": 3, "gamma": 0.99}, which SB3 does not pass
by itself.
"""

from buffers.adapters.missing import how_to_install

try:
    from buffers.adapters.sb3.feedback import with_feedback
    from buffers.adapters.sb3.memory_log import MemoryLog
    from buffers.adapters.sb3.replay import MemoryReplayBuffer
    from buffers.adapters.sb3.samples import MemorySamples
except ImportError as error:
    raise how_to_install(error, "retain-rl[sb3]") from None

__all__ = ["MemoryLog", "MemoryReplayBuffer", "MemorySamples", "with_feedback"]
