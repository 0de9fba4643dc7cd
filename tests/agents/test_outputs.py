"""One member's Q values and features are those of the agent as it is now."""

import numpy as np
import pytest
import torch

from agents import NETWORKS


def test_q_of_one_member_is_that_members_q(agent, rows):
    mine, obs = agent((0, 1, 2), noisy=True), rows((0, 1, 2), n=6)["state"]
    everyone = mine.q(obs, np.zeros((3, 6), int))
    for member in range(3):
        assert np.allclose(mine.q_of(member, obs[member], 0), everyone[member], atol=1e-6)


@pytest.mark.parametrize(
    "changes", [{}, {"noisy": True, "layer_norm": True}, {"head": "conditioned"}]
)
def test_q_is_the_last_layer_over_the_features_of_now(changes, agent, rows, learn):
    mine, data = agent((0, 1), normalize_observations=True, **changes), rows((0, 1), n=6)
    features = [mine.features_of(member) for member in range(2)]
    mine.observe(data["state"][:, :4], np.zeros((2, 4)), np.zeros((2, 4), bool), 1, True)
    for _ in range(3):
        learn(mine, data)
    for member in range(2):
        obs, task = data["state"][member], data["task"][member]
        seen = features[member](obs, task)
        theta = mine.learner.model.network.unflatten(mine.state["theta"][member])
        q = seen @ theta["advantage.weight"].numpy().T + theta["advantage.bias"].numpy()
        assert seen.shape == (6, 16)
        own = np.where((task == 0)[:, None], mine.q_of(member, obs, 0), mine.q_of(member, obs, 1))
        assert np.allclose(np.where(np.isinf(own), own, q), own, atol=1e-5)


def test_a_network_that_does_not_tell_its_features_is_named(agent, monkeypatch):
    class Own(torch.nn.Linear):
        def forward(self, obs, task):
            return super().forward(obs)

    monkeypatch.setitem(NETWORKS, "own", lambda spec: Own(3, 3))
    with pytest.raises(ValueError, match=r"^a Own does not tell its features: give it .*\Z"):
        agent(network="own").features_of(0)
