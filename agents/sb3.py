"""Agents of Stable-Baselines3 (Raffin et al., 2021) in our loop: baselines for every table.

Their networks, loss, bootstrap target, clipping and Adam are SB3's own; its training step is run on
rows drawn from our memories. Exploration, schedules, target updates and n-step sums are the loop's
and mean the same as for our own agent. What SB3 has no choice in is in `FIXED`. Two things it
cannot do at all: its bootstrap maximum also runs over actions that a task does not have (its choice
of actions does not), and it is not told the task.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agents.agent import Features
from agents.diagnosis import NonFiniteLoss
from agents.exploration import Exploration
from agents.methods import Method
from agents.options import DQNOptions
from agents.sb3_model import SB3Model, TypedSpace

# What is so whatever the options say.
FIXED: dict[str, dict[str, Any]] = {
    "sb3-dqn": {
        "methods": "none",
        "head": "single",
        "task_identity": "hidden",
        "double": False,
        "dueling": False,
        "layer_norm": False,
        "noisy": False,
        "precision": "float32",
        "distribution": "expectation",
        "huber_delta": 1.0,
        "normalize_observations": False,
        "scale_rewards": False,
        "compile": "off",
        "interference_interval": 0,
        "device": "cpu",
    },
}
FIXED["sb3-qrdqn"] = FIXED["sb3-dqn"] | {"distribution": "quantiles"}
Saved = list[dict[str, dict[str, Any]]]


def forced_options(agent: str, options: DQNOptions) -> dict[str, Any]:
    """What the agent does otherwise than the options' defaults say.

    Args:
        agent: A key of AGENTS; nothing is fixed for our own.
        options: As given; a run's `Config` has fields of its own beside the agent's.

    Raises:
        ValueError: A value that was chosen, that is no default, is not what the agent does.
    """
    fixed, changed = FIXED.get(agent, {}), {}
    for field in dataclasses.fields(options):
        name, given = field.name, getattr(options, field.name)
        does = fixed.get(name, given)
        if given not in (does, field.default):
            raise ValueError(f"{agent} has no {name}={given}, only {name}={does}: leave it out")
        if given != does:
            changed[name] = does
    return changed


class SB3Agent:
    """Members that are each a model of SB3's; see `agents.DQN` for what the methods mean.

    Args:
        name: `sb3-dqn` or `sb3-qrdqn`.
        space: The environments' shared space.
        options: All choices; those in FIXED must be as they are there.
        rngs: One NumPy generator per member: initial weights and exploration.
        num_envs: Environments of each member.

    Raises:
        ValueError: SB3 is not installed, has no such option, or no network for these images.
    """

    needs_q = False
    compiled = False
    methods: Sequence[Method] = ()

    def __init__(
        self,
        name: str,
        space: TypedSpace,
        options: DQNOptions,
        rngs: Sequence[np.random.Generator],
        num_envs: int,
    ) -> None:
        if other := forced_options(name, options):
            raise ValueError(f"{name} needs {', '.join(f'{k}={v}' for k, v in other.items())}")
        self.options, self.members = options, len(rngs)
        self._valid, self._num_envs, self._updates = space.valid, num_envs, 0
        self.exploration = Exploration(num_envs, list(rngs), options.exploratory_steps)
        self._models = [SB3Model(name, space, options, rng) for rng in rngs]

    @property
    def num_parameters(self) -> int:
        """Weights of the networks of all members."""
        return sum(model.num_parameters for model in self._models)

    @property
    def nbytes(self) -> int:
        """Bytes of all networks; Adam's moments will come to as many again."""
        weights = (array for saved in self._save() for array in saved["weights"].values())
        return 2 * sum(array.nbytes for array in weights)

    def compile(self, acting: bool = False) -> None:
        """Does nothing: SB3's training step runs as it is."""

    def q(self, obs: np.ndarray, task: np.ndarray) -> np.ndarray:
        """Q values, `[members, batch, actions]`; -inf where there is no action."""
        q = np.stack([model.q(each) for model, each in zip(self._models, obs, strict=True)])
        return np.where(self._valid[task], q, -np.inf)

    def q_of(self, member: int, obs: np.ndarray, task: int) -> np.ndarray:
        """One member's Q values of observations of one task, `[batch, actions]`."""
        return np.where(self._valid[task], self._models[member].q(obs), -np.inf)

    def features_of(self, member: int) -> Features:
        """What one member's last layer sees of observations, as the member is when asked."""
        return lambda obs, task: self._models[member].features(obs)

    def act(self, obs: np.ndarray, task: int, epsilon: float, lasting: bool = True) -> np.ndarray:
        """Each environment's next action while learning, `[members, envs]`."""
        num_actions = int(self._valid[task].sum())
        return self.exploration.choose(self.greedy(obs, task), epsilon, num_actions, lasting)

    def greedy(self, obs: np.ndarray, task: int) -> np.ndarray:
        """Each environment's best action, `[members, envs]`."""
        return self.q(obs, np.full(obs.shape[:2], task)).argmax(-1)

    def observe(
        self, obs: np.ndarray, reward: np.ndarray, ended: np.ndarray, task: int, adapt: bool
    ) -> None:
        """Takes in nothing: SB3's agents have no scales."""

    def end_episodes(self, ended: np.ndarray) -> None:
        """Takes in which episodes ended, bool `[members, envs]`."""
        self.exploration.end_episodes(ended)

    def update(
        self,
        data: Mapping[str, np.ndarray],
        weight: np.ndarray,
        steps: int,
        lr: float,
        then: tuple[np.ndarray, int] | None = None,
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Several gradient steps; the target networks follow as often as our own agent's.

        What is seen `then` is of no use here: acting is a call of its own.

        Raises:
            NonFiniteLoss: The agent is then as before the call.
        """
        before, updates = self._save(), self._updates
        td_error = np.empty_like(weight)
        for rows in np.split(np.arange(weight.shape[1]), steps):
            self._updates += 1
            for member, model in enumerate(self._models):
                part = {name: column[member, rows] for name, column in data.items()}
                td_error[member, rows] = model.train(part, weight[member, rows], lr)
            if self._updates % self.options.target_update_interval == 0:
                self._follow()
        wrong = [number for number, model in enumerate(self._models) if not model.is_finite()]
        if wrong:
            self._load(before)
            self._updates = updates
            raise NonFiniteLoss(f"the loss became NaN or infinite in member {wrong}")
        loss = np.array([model.loss for model in self._models])
        return td_error, {"loss": loss, "td_error": np.abs(td_error).mean(1)}

    def rehearse(self, data: Mapping[str, np.ndarray]) -> None:
        """Does nothing: SB3's training step cannot be tried without training."""

    def _follow(self) -> None:
        for model in self._models:
            model.move_target(self.options.target_rate)

    def end_task(self, samples: Mapping[str, np.ndarray]) -> None:
        """Takes in nothing: SB3's agents have no methods against forgetting."""

    def start_task(self, task: int, reset_optimizer: bool) -> None:
        """Begins a task: exploratory actions end, and Adam may start anew."""
        self.exploration.end_episodes(np.ones((self.members, self._num_envs), bool))
        if reset_optimizer:
            for model in self._models:
                model.optimizer.state.clear()

    def state_dict(self) -> dict[str, Any]:
        """Everything that learning changed, as arrays, and the state of every generator."""
        models = {str(member): saved for member, saved in enumerate(self._save())}
        exploration = self.exploration.state_dict()
        return {"models": models, "updates": self._updates, "exploration": exploration}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave.

        Raises:
            ValueError: The state is of another network.
        """
        saved = [state["models"][str(member)] for member in range(self.members)]
        for model, each in zip(self._models, saved, strict=True):
            model.check(each)
        self._load(saved)
        self._updates = state["updates"]
        self.exploration.load_state_dict(state["exploration"])

    def _save(self) -> Saved:
        return [model.save() for model in self._models]

    def _load(self, saved: Saved) -> None:
        for model, each in zip(self._models, saved, strict=True):
            model.load(each)
