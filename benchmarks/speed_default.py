"""The default run, `train.py --envs CartPole,Acrobot`: one member, ten members, and SB3's DQN.

SB3 does as many updates of as many rows: 8 environments, a 64-64 network, batches of 128, one
gradient step per two environment steps, Adam. Ours does more: Double DQN, n-step rows,
distillation, TensorBoard, checkpoints and evaluation of every task on the way.
"""

import tempfile
from typing import Any

from peers import Setting, evaluate, now

TASKS = ("CartPole", "Acrobot")
ENV_IDS = ("CartPole-v1", "Acrobot-v1")


def retain(steps: int, seed: int, seeds: int, processes: int = 1) -> dict[str, Any]:
    """Wall time of `experiments.train` from start to end, and where it went.

    Several processes start, compile and end in it; how long each compiles is not known here.
    """
    from peers.stopwatch import Stopwatch

    from experiments import Config, train

    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        config = Config(
            envs=",".join(TASKS), steps=steps, seed=seed, seeds=seeds, processes=processes,
            logdir=folder,
        )  # fmt: skip
        start = now()
        result = train(config, watch)
        seconds = now() - start
    compiling = sum(map(watch.compile_seconds, watch.times)) if processes == 1 else None
    return {
        "members": seeds, "seconds": seconds, "steps": 2 * steps * seeds,
        "compile_seconds": compiling,
        "returns": [result.scores[:, task + 1, task].tolist() for task in range(len(TASKS))],
        "time_shares": result.summary.get("time_shares"),
    }  # fmt: skip


def sb3(steps: int, seed: int) -> dict[str, Any]:
    """The same for SB3, which needs an agent per task since the spaces differ."""
    from stable_baselines3 import DQN
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.logger import Logger

    seconds, returns = 0.0, []
    for env_id in ENV_IDS:
        model = DQN(
            "MlpPolicy", make_vec_env(env_id, 8, seed=seed), learning_rate=1e-3, batch_size=128,
            buffer_size=50_000, learning_starts=1_000, gamma=0.99, train_freq=1, gradient_steps=4,
            target_update_interval=250, exploration_fraction=0.2, exploration_final_eps=0.05,
            policy_kwargs={"net_arch": [64, 64]}, seed=seed, device="cpu",
        )  # fmt: skip
        model.set_logger(Logger(None, []))  # SB3's own leaves a folder behind
        start = now()
        model.learn(steps)
        seconds += now() - start
        setting = Setting(env_id=env_id, seed=seed)
        predict = model.predict
        returns.append(
            [evaluate(lambda obs, p=predict: int(p(obs, deterministic=True)[0]), setting)]
        )
    return {
        "members": 1, "seconds": seconds, "steps": 2 * steps, "compile_seconds": 0.0,
        "returns": returns, "time_shares": None,
    }  # fmt: skip
