"""EWC: Fisher informations worked out by hand, and how those of several tasks are joined."""

from math import exp

import pytest
import torch

from agents import METHODS
from agents.methods.ewc import fisher_of


def fisher(model, theta, batch, kind, temperature=1.0):
    return fisher_of(model, theta, batch, kind, temperature).tolist()


def test_of_outputs_it_is_the_mean_squared_gradient_summed_over_the_tasks_actions(
    linear, theta, two_rows
):
    # Mean squared inputs: (1 + 9) / 2 and (4 + 0) / 2.
    assert fisher(linear, theta, two_rows(0), "output") == [5, 2, 0, 0, 0, 0, 0, 0]
    assert fisher(linear, theta, two_rows(1), "output") == [0, 0, 0, 0, 5, 2, 5, 2]


def test_of_a_policy_it_is_the_expectation_over_its_actions(linear, theta, two_rows):
    # Action gaps 1 and 3, mean 2: half of that is a temperature of 1. Of a softmax over two
    # actions it is p (1 - p) s^2.
    spread = [exp(gap) / (1 + exp(gap)) ** 2 for gap in (1, 3)]
    expected = [(spread[0] * 1 + spread[1] * 9) / 2, spread[0] * 4 / 2]
    found = fisher(linear, theta, two_rows(1), "policy", temperature=0.5)
    assert found == pytest.approx([0, 0, 0, 0, *expected, *expected])


def test_with_one_action_there_is_no_policy_to_keep(linear, theta, two_rows):
    assert fisher(linear, theta, two_rows(0), "policy") == [0] * 8


def test_of_the_td_loss_it_is_the_mean_squared_gradient_of_each_row(linear, theta, two_rows):
    # Row 1: error 4 - 1 = 3 in action 0, 3 (1, 2); row 2: error 1 - 0 in action 1, (3, 0).
    assert fisher(linear, theta, two_rows(1), "td") == [0, 0, 0, 0, 4.5, 18, 4.5, 0]


def ended(linear, theta, two_rows, **options):
    """The state after task 0 ended at `theta` and task 1 at `theta` + 1."""
    method = METHODS["ewc"](linear, **options)
    _, state = method.end_task(theta, method.init(theta), two_rows(0))
    return method.end_task(theta + 1, state, two_rows(1))[1]


def test_per_task_each_quadratic_stays_around_its_own_weights(linear, theta, two_rows):
    state = ended(linear, theta, two_rows, normalize=False)
    assert state["importance"].tolist() == [5, 2, 0, 0, 5, 2, 5, 2]
    assert state["anchor"][:2].tolist() == theta[:2].tolist()
    assert state["anchor"][4:].tolist() == (theta + 1)[4:].tolist()


def test_online_there_is_one_around_the_latest_weights(linear, theta, two_rows):
    state = ended(linear, theta, two_rows, mode="online", gamma=0.5, normalize=False)
    assert state["importance"].tolist() == [2.5, 1, 0, 0, 5, 2, 5, 2]
    assert torch.equal(state["anchor"], theta + 1)


def test_normalised_each_tasks_fisher_has_mean_one_where_it_has_any(linear, theta, two_rows):
    state = ended(linear, theta, two_rows)
    assert state["importance"][:2].tolist() == pytest.approx([10 / 7, 4 / 7])
    assert state["importance"][4:].mean().item() == pytest.approx(1)


def test_a_second_visit_counts_once_more(linear, theta, two_rows):
    method = METHODS["ewc"](linear, normalize=False)
    state = method.init(theta)
    for weights in (theta, theta + 1):
        _, state = method.end_task(weights, state, two_rows(0))
    assert state["importance"][:2].tolist() == [10, 4]
    assert state["anchor"][:2].tolist() == (theta + 0.5)[:2].tolist()


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ("ewc:gamma=1.5", "ewc:gamma must lie between 0 and 1, got 1.5"),
        ("ewc:temperature=0", "ewc:temperature must be positive"),
        ("ewc:gamma=0.5", "ewc:gamma=0.5 does nothing with mode=per_task, only with mode=online"),
        ("ewc:temperature=3,fisher=td", "does nothing with fisher=td, only with fisher=policy"),
    ],
)
def test_what_makes_no_sense_is_refused(methods, message, agent):
    with pytest.raises(ValueError, match=message):
        agent(methods=methods)
