"""Stable-Baselines3's DQN as it is."""

from stable_baselines3 import DQN
from stable_baselines3.common.logger import Logger

from peers import Outcome, Setting, evaluate, now


def train(setting: Setting) -> Outcome:
    """`DQN.learn`, timed as a whole."""
    model = DQN(
        "MlpPolicy", setting.env_id, learning_rate=setting.learning_rate,
        buffer_size=setting.capacity, learning_starts=setting.learning_starts,
        batch_size=setting.batch_size, gamma=setting.discount, train_freq=1, gradient_steps=1,
        target_update_interval=setting.target_interval, max_grad_norm=setting.gradient_clip,
        exploration_fraction=setting.epsilon_fraction, exploration_final_eps=setting.epsilon_end,
        policy_kwargs={
            "net_arch": [setting.hidden] * 2,
            "optimizer_kwargs": {"eps": setting.adam_epsilon},
        },
        seed=setting.seed, device="cpu",
    )  # fmt: skip
    model.set_logger(Logger(None, []))  # SB3's own leaves a folder behind
    start = now()
    model.learn(setting.steps)
    seconds = now() - start
    score = evaluate(lambda obs: int(model.predict(obs, deterministic=True)[0]), setting)
    return Outcome(setting.steps, model._n_updates, seconds, [score])
