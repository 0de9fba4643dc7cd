"""A model of Stable-Baselines3's that learns from rows drawn elsewhere."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from agents.agent import Space
from agents.flat import FlatNetwork
from agents.options import DQNOptions
from agents.saving import arrays_of, check_saved


class TypedSpace(Space, Protocol):
    """What these agents need to know of the environments beside what ours do."""

    @property
    def dtype(self) -> np.dtype:
        """Of an observation."""


class Batch(NamedTuple):
    """A minibatch as SB3 knows it, with the weights of its rows."""

    observations: Tensor
    actions: Tensor
    next_observations: Tensor
    dones: Tensor
    rewards: Tensor
    discounts: Tensor
    weights: Tensor
    index: None = None  # type: ignore[assignment]  # hides tuple.index


class Rows:
    """Takes the place of a model's replay buffer: its rows were drawn elsewhere."""

    batch: Batch
    td_error: np.ndarray

    def put(self, data: Mapping[str, np.ndarray], weight: np.ndarray) -> None:
        """Takes in the rows of the next gradient step."""
        columns = {name: torch.from_numpy(column) for name, column in data.items()}
        wide = {name: columns[name][:, None] for name in ("action", "done", "reward", "discount")}
        self.batch = Batch(
            columns["state"],
            wide["action"],
            columns["next_state"],
            wide["done"].float(),
            wide["reward"],
            wide["discount"],
            torch.from_numpy(weight)[:, None],
        )

    def sample(self, batch_size: int, env: None = None) -> Batch:
        """All rows of this gradient step."""
        return self.batch

    def feedback(self, index: None, td_error: np.ndarray) -> None:
        """Takes in the TD errors of these rows."""
        self.td_error = td_error


class SB3Model:
    """One member: a model of SB3's without environments or rows of its own."""

    def __init__(
        self, name: str, space: TypedSpace, options: DQNOptions, rng: np.random.Generator
    ) -> None:
        self._rows = Rows()
        self._model = _build(name, space, options, self._rows)
        self._is_quantile = name == "sb3-qrdqn"
        kind = "quantile_net" if self._is_quantile else "q_net"
        self._online = getattr(self._model, kind)
        self._target = getattr(self._model, f"{kind}_target")
        # PyTorch's rule, which SB3 relies on, drawn from the member's own generator.
        flat = FlatNetwork(self._online)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        self._online.load_state_dict(flat.unflatten(flat.initial(generator)))
        self._target.load_state_dict(self._online.state_dict())

    @property
    def num_parameters(self) -> int:
        """Weights of the network, without those of the target."""
        return sum(parameter.numel() for parameter in self._online.parameters())

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Adam, of SB3's policy."""
        return self._model.policy.optimizer

    @property
    def loss(self) -> float:
        """Of the last gradient step."""
        return float(self._model.logger.name_to_value["train/loss"])

    @torch.no_grad()
    def q(self, obs: np.ndarray) -> np.ndarray:
        """Q values, [batch, actions]."""
        outputs = self._online(torch.from_numpy(obs))
        return (outputs.mean(1) if self._is_quantile else outputs).numpy()

    @torch.no_grad()
    def features(self, obs: np.ndarray) -> np.ndarray:
        """What the last layer sees, [batch, numbers]."""
        online = self._online
        seen = online.extract_features(torch.from_numpy(obs), online.features_extractor)
        layers = online.quantile_net if self._is_quantile else online.q_net
        features: np.ndarray = layers[:-1](seen).numpy()
        return features

    def train(self, data: Mapping[str, np.ndarray], weight: np.ndarray, lr: float) -> np.ndarray:
        """SB3's gradient step on these rows; returns their TD errors."""
        self._rows.put(data, weight)
        self._model.lr_schedule = lambda _: lr
        self._model.train(gradient_steps=1, batch_size=len(weight))
        return self._rows.td_error

    def is_finite(self) -> bool:
        """Whether the last gradient step was one of finite numbers."""
        gradients = [p.grad for p in self._online.parameters()]
        return bool(np.isfinite(self.loss)) and all(bool(g.isfinite().all()) for g in gradients)

    def move_target(self, rate: float) -> None:
        """Moves the target network towards the network, by SB3's own function."""
        from stable_baselines3.common.utils import polyak_update

        polyak_update(self._online.parameters(), self._target.parameters(), rate)

    def save(self) -> dict[str, dict[str, Any]]:
        """Weights of both networks and Adam's moments, as arrays."""
        adam = self.optimizer.state_dict()["state"]
        return {
            "weights": arrays_of(self._model.policy.state_dict()),
            "adam": {str(number): arrays_of(moments) for number, moments in adam.items()},
        }

    def check(self, saved: Mapping[str, Any]) -> None:
        """Raises ValueError unless the saved weights are of this network."""
        check_saved(self._model.policy.state_dict(), saved["weights"])

    def load(self, saved: Mapping[str, Any]) -> None:
        """Takes over what `save` gave."""
        weights = {name: torch.from_numpy(a) for name, a in saved["weights"].items()}
        self._model.policy.load_state_dict(weights)
        moments = {
            int(i): {name: torch.from_numpy(a.copy()) for name, a in own.items()}
            for i, own in saved["adam"].items()
        }
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _build(name: str, space: TypedSpace, options: DQNOptions, rows: Rows) -> Any:
    """A model of SB3's with its own network and optimiser, and our rows."""
    algorithm = _algorithm(name)
    from gymnasium import spaces
    from stable_baselines3.common.logger import Logger

    is_image = len(space.shape) == 3
    low, high = (0, 255) if space.dtype == np.uint8 else (-np.inf, np.inf)
    model = algorithm(
        "CnnPolicy" if is_image else "MlpPolicy",
        env=None,
        gamma=options.discount,
        max_grad_norm=options.gradient_clip or np.inf,
        policy_kwargs=_policy(name, space, options),
        device="cpu",
        _init_setup_model=False,
    )
    model.observation_space = spaces.Box(low, high, space.shape, space.dtype.type)
    model.action_space = spaces.Discrete(space.valid.shape[1])
    model.n_envs, model.replay_buffer = 1, rows
    with torch.random.fork_rng(devices=[]):  # the weights drawn here are not used
        model._setup_model()
    model.set_logger(Logger(None, []))
    return model


def _policy(name: str, space: TypedSpace, options: DQNOptions) -> dict[str, Any]:
    """Arguments of SB3's policy."""
    if len(space.shape) == 3 and min(space.shape[1:]) < 36:
        size = "x".join(map(str, space.shape[1:]))
        raise ValueError(f"images of {size} are too small for {name}: its network needs 36x36")
    return {
        "net_arch": list(options.hidden),
        "normalize_images": space.dtype == np.uint8,
        "optimizer_class": torch.optim.Adam,
        "optimizer_kwargs": {"eps": options.adam_epsilon},
        **({"n_quantiles": options.atoms} if name == "sb3-qrdqn" else {}),
    }


def _algorithm(name: str) -> Any:
    """SB3's class, with a training step that heeds weights and reports TD errors."""
    try:
        from stable_baselines3 import DQN

        from buffers.adapters.sb3 import with_feedback

        if name == "sb3-dqn":
            return with_feedback(DQN)
        from sb3_contrib import QRDQN
    except ImportError:
        raise ValueError(f"{name} needs Stable-Baselines3: pip install 'retain-rl[sb3]'") from None
    return with_feedback(QRDQN)
