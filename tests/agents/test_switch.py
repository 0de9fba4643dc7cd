"""What becomes of the learner's state where one task ends and the next begins."""

import numpy as np
import pytest

from agents import METHODS, Method, NonFiniteLoss


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_what_a_method_keeps_of_a_task_must_be_finite(agent, rows, same, monkeypatch, seeds):
    wild = Method(
        "wild",
        init=lambda theta: {"kept": theta.clone()},
        end_task=lambda theta, state, samples: (theta, {"kept": theta / samples["reward"].sum()}),
    )
    monkeypatch.setitem(METHODS, "wild", lambda model: wild)
    mine, data = agent(seeds, methods="wild"), rows(seeds)
    mine.end_task(data)
    before = mine.state_dict()
    data["reward"][-1] = 0
    with pytest.raises(NonFiniteLoss, match=r"wild\.kept became NaN or infinite when the task end"):
        mine.end_task(data)
    assert same(mine.state_dict(), before)


def test_a_new_task_does_not_go_on_with_the_last_tasks_exploration(agent, rows):
    mine = agent(num_envs=200, exploratory_steps=100)
    obs = rows(n=200)["state"]
    assert mine.act(obs, 1, 1.0).max() == 2  # an action that task 0 does not have
    mine.start_task(0, reset_optimizer=False)
    assert np.array_equal(mine.act(obs, 0, 0.0), mine.greedy(obs, 0))


def test_a_new_task_begins_without_running_returns(agent):
    mine, zero = agent(scale_rewards=True), np.zeros((1, 4, 3), np.float32)
    mine.observe(zero, np.full((1, 4), 7, np.float32), np.zeros((1, 4), bool), 0, False)
    mine.start_task(0, reset_optimizer=False)
    mine.observe(zero, np.ones((1, 4), np.float32), np.zeros((1, 4), bool), 1, False)
    assert mine.state["return_max"].tolist() == [[7, 1]]


@pytest.mark.parametrize("reset", [True, False])
def test_adam_starts_anew_with_a_task_only_where_asked_to(reset, agent, rows, learn, same):
    mine, data = agent((0, 1)), rows((0, 1))
    learn(mine, data)
    before = mine.state_dict()["learner"]
    mine.start_task(0, reset_optimizer=reset)
    after = mine.state_dict()["learner"]
    for name in before:
        if name.startswith("adam") and reset:
            assert not after[name].any()
            assert before[name].any()
        else:
            assert same(after[name], before[name])
