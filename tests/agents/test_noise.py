"""Noisy networks are given new noise for each pass, others none."""

import numpy as np


def test_a_noisy_agent_acts_with_new_noise_each_time(agent, rows):
    mine = agent(noisy=True, num_envs=200)
    obs = rows(n=200)["state"]
    actions = [mine.act(obs, 1, 0.0) for _ in range(5)]
    assert len({action.tobytes() for action in actions}) > 1
    quiet = agent(noisy=False, num_envs=200)
    assert np.array_equal(quiet.act(obs, 1, 0.0), quiet.greedy(obs, 1))
