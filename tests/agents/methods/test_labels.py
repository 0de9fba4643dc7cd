"""Stored Q values: where there are any, what policy they stand for, and how far it is."""

import math

import pytest
import torch

from agents.methods import labels

NAN = float("nan")


def batch(*q) -> dict[str, torch.Tensor]:
    return {"q": torch.tensor(q)}


def test_a_row_is_labelled_if_any_of_its_actions_is():
    stored = batch([1.0, NAN], [NAN, NAN])
    assert labels.known(stored).tolist() == [[True, False], [False, False]]
    assert labels.labelled(stored).tolist() == [True, False]


def test_the_policy_of_a_gap_of_log_three_is_three_to_one():
    q = torch.tensor([[2 * math.log(3), 0.0, 100.0]])
    valid = torch.tensor([[True, True, False]])
    policy = labels.log_policy(q, valid, torch.tensor([2.0])).exp()
    assert policy.tolist() == [pytest.approx([0.75, 0.25, 0])]


def test_the_divergence_is_the_one_worked_out_by_hand():
    # Old policy (3/4, 1/4), new policy (1/2, 1/2), at temperature 2:
    # 3/4 log(3/2) + 1/4 log(1/2).
    stored = batch([2 * math.log(3), 0.0, NAN])
    q = torch.tensor([[5.0, 5.0, 7.0]])
    found = labels.divergence(q, stored, torch.tensor([2.0]))
    assert found.tolist() == pytest.approx([0.75 * math.log(1.5) + 0.25 * math.log(0.5)])


def test_the_divergence_pulls_the_policy_towards_the_old_one():
    # d KL / d q = (policy - old policy) / temperature.
    stored, q = batch([2 * math.log(3), 0.0, NAN]), torch.tensor([[5.0, 5.0, 7.0]])
    q.requires_grad_()
    labels.divergence(q, stored, torch.tensor([2.0])).sum().backward()
    assert q.grad.tolist() == [pytest.approx([-0.125, 0.125, 0])]


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e4])
def test_scaling_all_values_and_the_temperature_leaves_the_divergence(factor):
    stored, q = batch([1.0, 0.5, -1.0], [0.2, 0.1, NAN]), torch.tensor([[0.0, 0.5, 1.0]] * 2)
    tau = torch.tensor([0.3, 0.7])
    scaled = labels.divergence(factor * q, {"q": factor * stored["q"]}, factor * tau)
    assert torch.allclose(scaled, labels.divergence(q, stored, tau), rtol=1e-4)


@pytest.mark.parametrize(
    ("stored", "temperature"),
    [([NAN, NAN], 1.0), ([1.0, 0.0], 0.0), ([1.0, NAN], 1.0), ([1.0, NAN], 1e-6)],
    ids=["no label", "no temperature", "one action", "one action, tiny temperature"],
)
def test_where_there_is_nothing_to_keep_divergence_and_gradient_are_zero(stored, temperature):
    q = torch.tensor([[3.0, -300.0]], requires_grad=True)
    found = labels.divergence(q, batch(stored), torch.tensor([temperature]))
    found.sum().backward()
    assert found.tolist() == [0]
    assert q.grad.tolist() == [[0, 0]]


def test_the_best_value_is_compared_over_labelled_actions():
    stored = batch([1.0, 2.0, NAN], [NAN, NAN, NAN], [-4.0, NAN, NAN])
    q = torch.tensor([[5.0, 0.0, 9.0], [1.0, 2.0, 3.0], [-1.0, 0.0, 0.0]], requires_grad=True)
    distance = labels.best_distance(q, stored)
    distance.square().sum().backward()
    assert distance.tolist() == [3, 0, 3]
    assert q.grad.tolist() == [[6, 0, 0], [0, 0, 0], [6, 0, 0]]


def test_the_gap_is_the_mean_distance_of_best_and_second_best():
    q, valid = torch.tensor([[3.0, 2.0, 9.0], [0.0, 3.0, 9.0]]), torch.tensor([True, True, False])
    assert labels.typical_gap(q, valid.expand(2, 3)) == 2


def test_two_actions_that_are_always_equal_leave_a_share_of_the_spread():
    q = torch.tensor([[4.0, 4.0, 0.0], [0.0, 6.0, 6.0]])
    valid = torch.ones(2, 3, dtype=torch.bool)
    assert float(labels.typical_gap(q, valid)) == pytest.approx(5 * labels.LEAST_GAP)


@pytest.mark.parametrize("q", [[[3.0, 9.0]], [[3.0]]], ids=["two actions", "a space of one"])
def test_one_action_has_no_gap(q):
    valid = torch.tensor([[True] + [False] * (len(q[0]) - 1)])
    assert labels.typical_gap(torch.tensor(q), valid) == 0


def test_each_task_has_the_temperature_of_its_own_gap_once_it_has_ended(agent, rows, prepared):
    mine = agent(head="per_task")
    model, theta = mine.learner.model, mine.state["theta"][0]
    start = labels.no_gaps(model, theta)
    mixed = prepared(mine, rows(n=16))
    assert labels.temperatures(model, start, mixed, 3.0).tolist() == [0] * 16
    samples = prepared(mine, rows(n=10, task=1))
    state = labels.note_gap(model, theta, start, samples)
    best = model.q(theta, samples).topk(2).values
    gap = (best[:, 0] - best[:, 1]).mean()
    expected = torch.where(mixed["task"] == 1, 3 * gap, 0.0)
    assert torch.allclose(labels.temperatures(model, state, mixed, 3.0), expected)


def test_where_the_task_is_hidden_all_rows_have_the_mean_temperature(agent, rows, prepared):
    mine = agent(task_identity="hidden")
    batch, state = prepared(mine, rows(n=6)), {"gap": torch.tensor([0.0, 4.0])}
    tau = labels.temperatures(mine.learner.model, state, batch, 0.5)
    assert tau.tolist() == [2] * 6
    tau = labels.temperatures(mine.learner.model, {"gap": torch.tensor([2.0, 4.0])}, batch, 0.5)
    assert tau.tolist() == [1.5] * 6


@pytest.mark.parametrize("name", ["clear", "clonex"])
def test_a_policy_is_cloned_at_a_positive_temperature_only(agent, name):
    with pytest.raises(ValueError, match=f"{name}:temperature must be positive, got 0"):
        agent(methods=f"{name}:temperature=0")
