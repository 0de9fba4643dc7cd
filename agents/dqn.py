"""DQN (Mnih et al. 2015) for a sequence of tasks and a population of members.

An agent owns the learner's state and its random numbers, and turns arrays into tensors and back.
What is learned, and how, is in `learner.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents import outputs, switch
from agents.agent import Features, Space
from agents.building import initial_state, make_learner
from agents.diagnosis import check
from agents.engine import Engine
from agents.exploration import Exploration
from agents.interference import Outlook, outlook
from agents.members import each_member, member_of
from agents.noise import Noise
from agents.options import DQNOptions
from agents.readings import Readings
from agents.saving import arrays_of, check_saved, tensors_of
from agents.tensors import whole_numbers


class DQN:
    """Learns a sequence of tasks; every tensor has a leading axis of members.

    Args:
        space: The environments' shared space.
        options: All choices.
        rngs: One NumPy generator per member: initial weights, exploration, noise.
        num_envs: Environments of each member.
    """

    def __init__(
        self,
        space: Space,
        options: DQNOptions,
        rngs: Sequence[np.random.Generator],
        num_envs: int,
    ) -> None:
        self.options, self.members = options, len(rngs)
        self._num_actions = space.valid.sum(1).tolist()
        self._rngs = list(rngs)
        self._device = torch.device("cuda" if options.device == "cuda" else "cpu")
        self.learner = make_learner(space, options, self._device)
        self.methods = self.learner.methods
        self._engine = Engine(self.learner, self.members, self._device)
        self._noise = Noise(self._rngs, self._engine.quiet)
        explorers = [rng.spawn(1)[0] for rng in self._rngs]
        self.exploration = Exploration(num_envs, explorers, options.exploratory_steps)
        self.state = initial_state(self.learner, space, num_envs, self._rngs, self._device)
        self._foreseen: tuple[Any, Any, Any] = (None, None, None)  # see `_foreseen_for`

    @property
    def needs_q(self) -> bool:
        """Whether rows of ended tasks must carry the Q values of the switch."""
        return any(method.needs_q for method in self.methods)

    @property
    def num_parameters(self) -> int:
        """Weights of the networks of all members."""
        return self.state["theta"].numel()

    @property
    def nbytes(self) -> int:
        """Bytes of the learner's state; an update has two of them at a time."""
        return sum(tensor.nbytes for tensor in self.state.values())

    def compile(self, acting: bool = False) -> None:
        """Compiles the update at its first call, in some ten seconds; see docs/performance.md.

        Args:
            acting: Whether to compile also what is done at every step: some ten seconds more.
        """
        self._engine.compile(acting)

    @property
    def compiled(self) -> bool:
        """Whether the update runs compiled; not where that was asked for and failed."""
        return self._engine.compiled

    @property
    def recordings(self) -> int:
        """How often the update was recorded or compiled: once, unless its shapes changed."""
        return self._engine.recordings

    @torch.no_grad()
    def q(self, obs: np.ndarray, task: np.ndarray) -> np.ndarray:
        """Q values in scaled returns, `[members, batch, actions]`; -inf where there is no action.

        Args:
            obs: Raw observations, `[members, batch, *shape]`.
            task: Index of each row's task, `[members, batch]`.
        """
        each = each_member(self.learner.q, self.members)
        seen = (torch.from_numpy(array).to(self._device) for array in (obs, task))
        return each(self.state, self._noise.quiet, *seen).cpu().numpy()

    def q_of(self, member: int, obs: np.ndarray, task: int) -> np.ndarray:
        """One member's Q values of observations of one task, `[batch, actions]`; see `q`."""
        return outputs.q_of(self.learner, member_of(self.state, member), obs, task)

    def features_of(self, member: int) -> Features:
        """What one member's last layer sees of observations, as the member is when asked.

        Raises:
            ValueError: The network does not tell.
        """
        return outputs.features_of(self.learner, lambda: member_of(self.state, member))

    def act(self, obs: np.ndarray, task: int, epsilon: float, lasting: bool = True) -> np.ndarray:
        """Each environment's next action while learning, `[members, envs]`.

        Args:
            obs: Raw observations, `[members, envs, *shape]`.
            task: Index of the task.
            epsilon: Chance to start an exploratory action.
            lasting: Whether exploratory actions may last for several steps.
        """
        best = self._foreseen_for(obs, task)
        if best is None:
            noise = self._noise.draw(1)[:, 0] if self._noise.size else self._noise.quiet
            best = self._engine.best(self.state, obs, task, noise)
        return self.exploration.choose(best, epsilon, self._num_actions[task], lasting)

    def greedy(self, obs: np.ndarray, task: int) -> np.ndarray:
        """Each environment's best action; changes nothing and draws nothing, `[members, envs]`."""
        return self._engine.best(self.state, obs, task, self._noise.quiet)

    def observe(
        self, obs: np.ndarray, reward: np.ndarray, ended: np.ndarray, task: int, adapt: bool
    ) -> None:
        """Takes in the scale of one step of all environments, `[members, envs, ...]`.

        Args:
            obs: Raw observations before the step.
            reward: Rewards of the step.
            ended: Where an episode ended.
            task: Index of the task.
            adapt: Whether observation statistics still move.
        """
        self.state = self._engine.observe(self.state, obs, reward, ended, task, adapt)

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
    ) -> tuple[np.ndarray, Readings]:
        """Several gradient steps.

        Args:
            data: Columns `[members, steps * batch, ...]`, cut into `steps` minibatches.
            weight: Importance of each row in the loss, `[members, steps * batch]`.
            steps: Gradient steps.
            lr: Learning rate of Adam.
            then: The observations (the same array) and the task that `act` is asked about next:
                what is best there is found on the way, which is faster and changes nothing else.

        Returns:
            The TD error of each row, and metrics, `[members]` each (of the last step).

        Raises:
            NonFiniteLoss: The state is then as before the call.
        """
        noise = self._noise.draw(3 * steps)
        then = None if self._noise.size else then  # acting draws noise of its own
        given = data, weight, noise, lr
        state, td_error, health, info, best = self._engine.update(self.state, *given, then)
        check(self.learner, self.state, state, health, info, given)
        self.state = state
        self._foreseen = (state, then, best)
        return td_error, info

    def rehearse(self, data: Mapping[str, np.ndarray]) -> None:
        """Takes a gradient step and forgets it, to see how long it takes; draws nothing.

        Args:
            data: Columns `[members, batch, ...]`.
        """
        self._engine.rehearse(self.state, data)

    def outlook(self, data: Mapping[str, np.ndarray], tasks: int) -> Outlook:
        """Losses and gradients of several tasks' rows; see `agents.interference.outlook`."""
        return outlook(self.learner, self.state, self._silent(data), tasks)

    def end_task(self, samples: Mapping[str, np.ndarray]) -> None:
        """Lets the methods take in a task that ends, from rows of it, `[members, n, ...]`.

        Raises:
            NonFiniteLoss: What a method keeps became NaN or infinite; the state is as before.
        """
        if any(method.end_task for method in self.methods):
            self.state = switch.end_task(self.learner, self.state, self._silent(samples))

    def start_task(self, task: int, reset_optimizer: bool) -> None:
        """Begins a task: nothing of the last task's episodes goes on, and Adam may start anew.

        Raises:
            NonFiniteLoss: As `end_task` does.
        """
        self.state = switch.start_task(self.learner, self.state, task, reset_optimizer)
        self.exploration.end_episodes(np.ones(self.state["running_return"].shape, bool))

    def state_dict(self) -> dict[str, Any]:
        """Everything that learning changed, as arrays, and the state of every generator."""
        return {
            "learner": arrays_of(self.state),
            "exploration": self.exploration.state_dict(),
            "rngs": [rng.bit_generator.state for rng in self._rngs],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave.

        Raises:
            ValueError: The state is of another network or other methods.
        """
        check_saved(self.state, state["learner"])
        self.state = tensors_of(state["learner"], self._device)
        self.exploration.load_state_dict(state["exploration"])
        for rng, saved in zip(self._rngs, state["rngs"], strict=True):
            rng.bit_generator.state = saved

    def _foreseen_for(self, obs: np.ndarray, task: int) -> np.ndarray | None:
        """The best actions, if the last update found them and nothing has changed since."""
        state, then, best = self._foreseen
        same = then is not None and state is self.state and then[0] is obs and then[1] == task
        return best if same else None

    def _silent(self, columns: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """Columns as a batch of the learner's, without noise."""
        noise = self._noise.quiet[:, None].expand(-1, 3, -1)
        return whole_numbers(self._engine.tensors(columns)) | {"noise": noise}
