"""TorchRL's DQN: its environment, actor, loss and replay buffer in the loop of its examples."""

import logging

import numpy as np
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictSequential
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.envs import GymEnv
from torchrl.modules import MLP, EGreedyModule, QValueActor
from torchrl.objectives import DQNLoss, HardUpdate

from peers import Outcome, Setting, evaluate, now


def train(setting: Setting) -> Outcome:
    """One collected step, one update."""
    logging.getLogger("torchrl").setLevel(logging.ERROR)
    torch.manual_seed(setting.seed)
    env = GymEnv(setting.env_id, categorical_action_encoding=True)
    env.set_seed(setting.seed)
    actor, loss_module = make_actor(env, setting)
    greedily = EGreedyModule(env.action_spec, eps_init=1.0, eps_end=setting.epsilon_end)
    optimizer = torch.optim.Adam(
        loss_module.parameters(), lr=setting.learning_rate, eps=setting.adam_epsilon
    )
    target = HardUpdate(loss_module, value_network_update_interval=setting.target_interval)
    buffer = TensorDictReplayBuffer(
        storage=LazyTensorStorage(setting.capacity), batch_size=setting.batch_size
    )
    collector = Collector(
        env, TensorDictSequential(actor, greedily), frames_per_batch=1, total_frames=setting.steps,
        auto_register_policy_transforms=False,
    )  # fmt: skip
    updates = 0
    start = now()
    for step, rows in enumerate(collector):
        buffer.extend(rows.reshape(-1))
        if step >= setting.learning_starts:
            loss = loss_module(buffer.sample())["loss"]
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(loss_module.parameters(), setting.gradient_clip)
            optimizer.step()
            target.step()
            updates += 1
        greedily.eps.fill_(setting.epsilon(step + 1))
    seconds = now() - start
    collector.shutdown()

    @torch.no_grad()
    def greedy(obs: np.ndarray) -> int:
        return int(actor(TensorDict({"observation": torch.from_numpy(obs)}))["action"])

    return Outcome(setting.steps, updates, seconds, [evaluate(greedy, setting)])


def make_actor(env: GymEnv, setting: Setting) -> tuple[QValueActor, DQNLoss]:
    """The network as an actor, and the loss that owns its target."""
    network = MLP(
        in_features=env.observation_spec["observation"].shape[-1],
        out_features=env.action_spec.space.n,
        num_cells=[setting.hidden] * 2,
        activation_class=torch.nn.ReLU,
    )
    actor = QValueActor(network, spec=env.action_spec, in_keys=["observation"])
    loss = DQNLoss(
        actor, loss_function="smooth_l1", delay_value=True, double_dqn=False,
        action_space=env.action_spec,
    )  # fmt: skip
    loss.make_value_estimator(gamma=setting.discount)
    return actor, loss
