"""DQN (Mnih et al. 2015) for a sequence of tasks and a population of members.

An agent owns the learner's state and its random numbers, and turns arrays into tensors and back.
What is learned, and how, is in `learner.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.agent import Features, Space
from agents.diagnosis import NonFiniteLoss, good_members, spoiled, spoiler
from agents.engine import Engine
from agents.exploration import Exploration
from agents.flat import FlatNetwork
from agents.interference import Outlook, outlook
from agents.learner import Learner, LearnerState
from agents.members import each_member, stack
from agents.methods import make_methods
from agents.model import Model
from agents.networks import NETWORKS, NetworkSpec, Penultimate
from agents.options import DQNOptions
from agents.round import Round, minibatches, whole_numbers
from agents.values import make_values

ROWS_AT_ONCE = 4_096  # of a pass over a whole memory


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
        self._valid = space.valid
        self._num_actions = space.valid.sum(1).tolist()
        self._rngs = list(rngs)
        known = options.task_identity == "known"
        values = make_values(
            options.distribution, options.atoms, options.huber_delta, options.value_limit
        )
        network = _network(space, options, values.atoms)
        self._device = torch.device("cuda" if options.device == "cuda" else "cpu")
        valid = torch.from_numpy(self._valid).to(self._device)
        model = Model(network, values, valid, known, mask=not self._valid.all())
        self.methods = make_methods(options.methods, model)
        scaled = options.normalize_observations or bool((space.scale != 1).any())
        self.learner = Learner(options, model, self.methods, scaled)
        self._engine = Engine(self.learner, self.members, self._device)
        self._quiet = self._engine.quiet
        self._silence: dict[int, Tensor] = {}  # what `_noise` gives where there is none
        explorers = [rng.spawn(1)[0] for rng in self._rngs]
        self.exploration = Exploration(num_envs, explorers, options.exploratory_steps)
        scale = torch.from_numpy(space.scale if known else space.scale.max(keepdims=True))
        inits = [
            self.learner.init(self._initial(rng), scale, space.shape, num_envs)
            for rng in self._rngs
        ]
        self._foreseen: tuple[Any, Any, Any] = (None, None, None)
        self.state: LearnerState = {k: t.to(self._device) for k, t in stack(inits).items()}

    @property
    def needs_q(self) -> bool:
        """Whether rows of ended tasks must carry the Q values of the switch."""
        return any(method.needs_q for method in self.methods)

    @property
    def nbytes(self) -> int:
        """Bytes of the learner's state; an update has two of them at a time."""
        return sum(tensor.nbytes for tensor in self.state.values())

    def compile(self, acting: bool = False) -> None:
        """Compiles the update at its first call: some ten seconds, then twice as fast.

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
        return each(self.state, self._quiet, *seen).cpu().numpy()

    @torch.no_grad()
    def q_of(self, member: int, obs: np.ndarray, task: int) -> np.ndarray:
        """One member's Q values of observations of one task, `[batch, actions]`; see `q`."""
        own, noise = _member(self.state, member), self._quiet[member]
        parts = torch.from_numpy(obs).to(self._device).split(ROWS_AT_ONCE)
        tasks = [torch.full((len(part),), task, device=self._device) for part in parts]
        values = [self.learner.q(own, noise, *each) for each in zip(parts, tasks, strict=True)]
        return torch.cat(values).cpu().numpy()

    def features_of(self, member: int) -> Features:
        """What one member's last layer sees of observations, as the member is when asked.

        Raises:
            ValueError: The network does not tell.
        """
        network = FlatNetwork(Penultimate(self.learner.model.network.network))
        noise = torch.zeros(network.noise_size, device=self._device)

        @torch.no_grad()
        def features(obs: np.ndarray, task: np.ndarray) -> np.ndarray:
            own = _member(self.state, member)
            raw, tasks = (torch.from_numpy(array).to(self._device) for array in (obs, task))
            seen, context = self.learner.see(own, raw, tasks), self.learner.model.context(tasks)
            return network(own["theta"], noise, seen, context.long()).cpu().numpy()

        return features

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
            noise = self._noise(1)[:, 0] if self._quiet.shape[1] else self._quiet
            best = self._engine.best(self.state, obs, task, noise)
        return self.exploration.choose(best, epsilon, self._num_actions[task], lasting)

    def greedy(self, obs: np.ndarray, task: int) -> np.ndarray:
        """Each environment's best action; changes nothing and draws nothing, `[members, envs]`."""
        return self._engine.best(self.state, obs, task, self._quiet)

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
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Several gradient steps.

        Args:
            data: Columns `[members, steps * batch, ...]`, cut into `steps` minibatches.
            weight: Importance of each row in the loss, `[members, steps * batch]`.
            steps: Gradient steps.
            lr: Step size of Adam.
            then: The observations (the same array) and the task that `act` is asked about next:
                what is best there is found on the way, which is faster and changes nothing else.

        Returns:
            The TD error of each row, and numbers to look at, `[members]` each (of the last step).

        Raises:
            NonFiniteLoss: The state is then as before the call.
        """
        noise = self._noise(3 * steps)
        then = None if noise.shape[2] else then  # acting draws noise of its own
        given = data, weight, noise, lr
        state, td_error, info, best = self._engine.update(self.state, *given, then)
        self._check(info, state, *given)
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
        """Losses and gradients of several tasks' rows, `[members, tasks * n, ...]`; see there."""
        return outlook(self.learner, self.state, self._silent(data), tasks)

    @torch.no_grad()
    def end_task(self, samples: Mapping[str, np.ndarray]) -> None:
        """Lets the methods take in a task that ends, from rows of it, `[members, n, ...]`.

        Raises:
            NonFiniteLoss: What a method keeps became NaN or infinite; the state is as before.
        """
        if any(method.end_task for method in self.methods):
            self._at_switch(self.learner.end_task, "ended", self._silent(samples))

    @torch.no_grad()
    def start_task(self, task: int, reset_optimizer: bool) -> None:
        """Begins a task: nothing of the last task's episodes goes on, and Adam may start anew.

        Raises:
            NonFiniteLoss: As `end_task` does.
        """
        if any(method.start_task for method in self.methods):
            self._at_switch(self.learner.start_task, "began")
        running = torch.zeros_like(self.state["running_return"])
        now = torch.full_like(self.state["task"], task)
        self.state = self.state | {"running_return": running, "task": now}
        self.exploration.end_episodes(np.ones(running.shape, bool))
        if reset_optimizer:
            names = ("adam_mean", "adam_square", "adam_steps")
            self.state = self.state | {n: torch.zeros_like(self.state[n]) for n in names}

    def state_dict(self) -> dict[str, Any]:
        """Everything that learning changed, as arrays, and the state of every generator."""
        arrays = {name: tensor.cpu().numpy().copy() for name, tensor in self.state.items()}
        rngs = [rng.bit_generator.state for rng in self._rngs]
        return {"learner": arrays, "exploration": self.exploration.state_dict(), "rngs": rngs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave.

        Raises:
            ValueError: The state is of another network or other methods.
        """
        mine = {name: tuple(tensor.shape) for name, tensor in self.state.items()}
        other = {name: tuple(array.shape) for name, array in state["learner"].items()}
        if mine != other:
            wrong = sorted(set(mine.items()) ^ set(other.items()))[0]
            raise ValueError(f"the checkpoint is of another agent: {wrong[0]} {wrong[1]} differs")
        arrays = {name: torch.from_numpy(a.copy()) for name, a in state["learner"].items()}
        self.state = {name: tensor.to(self._device) for name, tensor in arrays.items()}
        self.exploration.load_state_dict(state["exploration"])
        for rng, saved in zip(self._rngs, state["rngs"], strict=True):
            rng.bit_generator.state = saved

    def _at_switch(
        self, act: Callable[..., LearnerState], when: str, *given: dict[str, Tensor]
    ) -> None:
        """Lets the methods act on one member after another."""
        members = range(self.members)
        own = [[_member(tree, member) for tree in (self.state, *given)] for member in members]
        state = stack([act(*trees) for trees in own])
        if names := spoiled(self.state, state):
            raise NonFiniteLoss(f"{', '.join(names)} became NaN or infinite when the task {when}")
        self.state = state

    def _initial(self, rng: np.random.Generator) -> Tensor:
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        return self.learner.model.network.initial(generator)

    def _foreseen_for(self, obs: np.ndarray, task: int) -> np.ndarray | None:
        """The best actions, if the last update found them and nothing has changed since."""
        state, then, best = self._foreseen
        same = then is not None and state is self.state and then[0] is obs and then[1] == task
        return best if same else None

    def _noise(self, draws: int) -> Tensor:
        size = self._quiet.shape[1]
        if size == 0:
            if draws not in self._silence:
                self._silence[draws] = self._quiet.new_zeros(self.members, draws, 0)
            return self._silence[draws]
        drawn = [rng.standard_normal((draws, size), dtype=np.float32) for rng in self._rngs]
        return torch.from_numpy(np.stack(drawn)).to(self._device)

    def _silent(self, columns: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """Columns as a batch of the learner's, without noise."""
        noise = self._quiet[:, None].expand(-1, 3, -1)
        return whole_numbers(self._engine.tensors(columns)) | {"noise": noise}

    def _check(self, info: dict[str, np.ndarray], state: LearnerState, *round_: Any) -> None:
        """Refuses the state that a round came to, given what `Engine.update` was, if it is bad."""
        largest, weights = info.pop("largest_loss"), info.pop("weights")
        if isfinite(sum(largest.tolist()) + sum(weights.tolist())):
            return
        # Weights may be finite though their sum is not.
        good = good_members(info | {"loss": largest}, state)
        if good.all():
            return
        batches = (minibatches(call)[0] for call in Round(self._device).of(*round_))
        members = np.flatnonzero(~good).tolist()
        what = spoiler(self.learner, self.state, batches)
        raise NonFiniteLoss(f"{what} became NaN or infinite in member {members}")


def _network(space: Space, options: DQNOptions, atoms: int) -> FlatNetwork:
    """The network that the options name, without memory of its own."""
    spec = NetworkSpec(
        shape=space.shape,
        num_actions=space.valid.shape[1],
        num_tasks=len(space.valid) if options.task_identity == "known" else 1,
        atoms=atoms,
        hidden=options.hidden,
        head=options.head,
        dueling=options.dueling,
        layer_norm=options.layer_norm,
        noisy=options.noisy,
    )
    with torch.device("meta"):
        return FlatNetwork(NETWORKS[options.network](spec))


def _member(tree: Mapping[str, Tensor], member: int) -> dict[str, Tensor]:
    return {name: tensor[member] for name, tensor in tree.items()}
