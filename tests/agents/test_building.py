"""What an agent begins with."""

import torch
from torch import nn

from agents.layers import BFloat16Linear


def test_members_begin_with_their_own_weights(agent):
    theta = agent((1, 2, 3)).state["theta"]
    assert not torch.equal(theta[0], theta[1])
    assert not torch.equal(theta[1], theta[2])
    assert torch.equal(theta, agent((1, 2, 3)).state["theta"])


def test_in_half_precision_all_layers_but_the_heads_multiply_so(agent):
    made = agent(precision="bfloat16", dueling=True, hidden=(5, 4)).learner.model.network.network
    kinds = {name: type(layer) for name, layer in made.named_modules() if hasattr(layer, "weight")}
    assert kinds == {
        "torso.layers.0": BFloat16Linear,
        "torso.layers.2": BFloat16Linear,
        "advantage": nn.Linear,
        "value": nn.Linear,
    }
