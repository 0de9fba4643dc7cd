"""RWalk: running Fisher and path score, worked out by hand."""

import pytest
import torch

from agents import METHODS

# Weights before the first step and after each, and the gradients at the start of each.
PLACES = torch.tensor([[0.0, 0], [-1, 1], [-2, 1]])
GRADIENTS = torch.tensor([[2.0, 1], [1, 1]])


def walked(interval: int):
    """The method and its state after both steps."""
    method = METHODS["rwalk"](None, strength=0.0, rate=0.5, interval=interval, damping=0.5)
    state = method.init(PLACES[0])
    for before, after, gradient in zip(PLACES, PLACES[1:], GRADIENTS, strict=False):
        _, state = method.after_step(after, state, before, gradient, {"lr": torch.tensor(0.1)})
    return method, state


def test_the_fisher_is_a_moving_average_that_starts_at_the_first_square():
    assert walked(1)[1]["fisher"].tolist() == [2.5, 1]  # from (4, 1), half of it (1, 1)


def test_the_score_is_the_drop_over_the_length_of_the_step():
    # Step 1: drops 2, -1; lengths 0.5 * (4, 1). Step 2: drops 1, 0; lengths 0.5 * (2.5, 0).
    expected = [2 / (2 + 0.5) + 1 / (1.25 + 0.5), -1 / (0.5 + 0.5)]
    assert walked(1)[1]["score"].tolist() == pytest.approx(expected)


def test_over_two_steps_drops_and_ways_add_up_first():
    # Drops 3, -1; lengths 0.5 * (2.5 * 4, 1 * 1).
    state = walked(2)[1]
    assert state["score"].tolist() == pytest.approx([3 / (5 + 0.5), -1 / (0.5 + 0.5)])
    assert state["drop"].tolist() == [0, 0]
    assert torch.equal(state["start"], PLACES[2])


def test_importance_is_fisher_plus_score_each_of_mean_one():
    method, state = walked(2)
    theta, state = method.end_task(PLACES[2], state, {})
    assert state["importance"].tolist() == pytest.approx([2.5 / 1.75 + 1, 1 / 1.75])
    assert torch.equal(state["anchor"], theta)
    assert state["score"].tolist() == [0, 0]


def test_scores_of_later_tasks_are_averaged_with_the_earlier():
    method, state = walked(2)
    expected = (0.5 * (state["score"] + torch.tensor([0.0, 2.0]))).tolist()
    _, state = method.end_task(PLACES[2], state, {})
    _, state = method.end_task(PLACES[2], state | {"score": torch.tensor([0.0, 2.0])}, {})
    assert state["earlier_score"].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("option", ["rate=0", "rate=2", "interval=0", "damping=0"])
def test_what_makes_no_sense_is_refused(option, agent):
    with pytest.raises(ValueError, match=f"rwalk:{option.partition('=')[0]} must"):
        agent(methods=f"rwalk:{option}")
