"""What an agent begins with."""

import torch


def test_members_begin_with_their_own_weights(agent):
    theta = agent((1, 2, 3)).state["theta"]
    assert not torch.equal(theta[0], theta[1])
    assert not torch.equal(theta[1], theta[2])
    assert torch.equal(theta, agent((1, 2, 3)).state["theta"])
