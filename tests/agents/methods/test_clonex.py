"""ClonEx clones each task's policy, and its rows do nothing else."""

from math import e, log

import numpy as np
import pytest
import torch

from agents import METHODS
from agents.methods import labels
from agents.methods.clonex import mean_of_tasks


@pytest.fixture
def both_ended(agent, rows):
    def make(methods: str):
        mine = agent(methods=methods)
        for task in (0, 1):
            mine.end_task(rows((50 + task,), n=32, task=task))
        return mine

    return make


def test_each_task_weighs_the_same_however_many_rows_it_has(agent):
    values, task = torch.tensor([1.0, 2.0, 3.0, 10.0, 99.0]), torch.tensor([0, 0, 0, 1, 1])
    meant = torch.tensor([True, True, True, True, False])
    assert mean_of_tasks(values, task, meant, agent().learner.model) == 6  # (2 + 10) / 2
    only_first = meant & (task == 0)
    assert mean_of_tasks(values, task, only_first, agent().learner.model) == 2
    assert mean_of_tasks(values, task, torch.zeros(5, dtype=bool), agent().learner.model) == 0


def test_its_loss_is_the_mean_divergence_of_the_tasks(both_ended, rows, prepared, call):
    mine = both_ended("clonex:strength=2,temperature=0.5")
    batch, model = prepared(mine, rows(n=32)), mine.learner.model
    q = model.q(mine.state["theta"][0], batch)
    tau = 0.5 * mine.state["clonex.gap"][0, batch["task"]]
    divergence, there = labels.divergence(q, batch, tau), labels.labelled(batch)
    means = [divergence[there & (batch["task"] == task)].mean() for task in (0, 1)]
    assert float(call(mine, mine.methods[0], batch)) == pytest.approx(float(sum(means)), rel=1e-5)


def test_old_rows_that_say_what_they_said_teach_nothing(both_ended, agent, rows, learn, labelled):
    mine, plain = both_ended("clonex"), agent()
    old, new = rows((1,), n=8, task=0), rows((2,), n=8, task=1)
    new["q"][:] = np.nan
    for each in (mine, plain):
        each.start_task(1, reset_optimizer=False)
    old = labelled(mine, old)
    _, info = learn(mine, {name: np.concatenate([old[name], new[name]], axis=1) for name in old})
    _, expected = learn(plain, new)
    assert np.allclose(info["td_loss"], expected["td_loss"])
    assert np.allclose(info["gradient_norm"], expected["gradient_norm"], rtol=1e-4)


def test_before_any_task_has_ended_it_is_textbook_dqn_bit_by_bit(agent, rows, learn):
    mine, plain = agent(methods="clonex"), agent()
    for step in range(10):
        data = rows((step,), task=0)
        learn(mine, data)
        learn(plain, data)
    assert torch.equal(mine.state["theta"], plain.state["theta"])


def test_it_must_be_told_the_task(agent):
    with pytest.raises(ValueError, match="clonex must be told the task"):
        agent(methods="clonex", task_identity="hidden")


def test_by_hand(linear, theta, two_rows):
    # The first row's policy was 3 to 1, and is 1 to e; the other's task has one action only.
    stored = torch.tensor([[log(3), 0], [9, torch.nan]])
    batch = two_rows(1) | {"q": stored, "task": torch.tensor([1, 0])}
    method = METHODS["clonex"](linear, strength=4.0, temperature=0.5)
    found = method.loss(theta, {"gap": torch.tensor([5.0, 2])}, batch, linear.q(theta, batch))
    divergence = 0.75 * log(0.75 * (1 + e)) + 0.25 * log(0.25 * (1 + e) / e)
    assert float(found) == pytest.approx(4 * (divergence + 0) / 2)
