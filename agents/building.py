"""What an agent is made of: its learner, from the options, and the state it begins with."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from agents.agent import Space
from agents.flat import FlatNetwork
from agents.learner import Learner, LearnerState
from agents.members import stack
from agents.methods import make_methods
from agents.model import Model
from agents.networks import NETWORKS, NetworkSpec
from agents.options import DQNOptions
from agents.values import make_values


def make_learner(space: Space, options: DQNOptions, device: torch.device) -> Learner:
    """The learner that the options name.

    Args:
        space: The environments' shared space.
        options: All choices.
        device: Where the learner's state will be.
    """
    values = make_values(
        options.distribution, options.atoms, options.huber_delta, options.value_limit
    )
    network = _network(space, options, values.atoms)
    valid = torch.from_numpy(space.valid).to(device)
    known = options.task_identity == "known"
    model = Model(network, values, valid, known, mask=not space.valid.all())
    scaled = options.normalize_observations or bool((space.scale != 1).any())
    return Learner(options, model, make_methods(options.methods, model), scaled)


def initial_state(
    learner: Learner,
    space: Space,
    num_envs: int,
    rngs: Sequence[np.random.Generator],
    device: torch.device,
) -> LearnerState:
    """The state before the first step, with a leading axis of members.

    Args:
        learner: Whose state it is.
        space: The environments' shared space.
        num_envs: Environments of each member.
        rngs: One generator per member, from which its weights are drawn.
        device: Where the state will be.
    """
    known = learner.model.task_known
    scale = torch.from_numpy(space.scale if known else space.scale.max(keepdims=True))
    thetas = [_weights(learner.model.network, rng) for rng in rngs]
    inits = [learner.init(theta, scale, space.shape, num_envs) for theta in thetas]
    return {name: tensor.to(device) for name, tensor in stack(inits).items()}


def _weights(network: FlatNetwork, rng: np.random.Generator) -> Tensor:
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    return network.initial(generator)


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
        bfloat16=options.precision == "bfloat16",
    )
    with torch.device("meta"):
        return FlatNetwork(NETWORKS[options.network](spec))
