"""The pull towards an anchor: its numbers, and that no strength carries beyond the anchor."""

import pytest
import torch

from agents.methods.quadratic import quadratic, summed, towards, unit_mean

STATE = {"importance": torch.tensor([0.5, 2.0, 0.0]), "anchor": torch.tensor([1.0, 1.0, 1.0])}
THETA = torch.tensor([2.0, -1.0, 7.0])


def test_the_penalty_is_half_the_weighted_squared_distance():
    method = quadratic("pull", 3.0, "loss")
    assert method.after_step is None
    # 0.5 * 3 * (0.5 * 1 + 2 * 4)
    assert method.penalty(THETA, STATE, {}).item() == pytest.approx(12.75)


def test_the_implicit_step_weighs_weights_and_anchor():
    method = quadratic("pull", 5.0, "implicit")
    assert method.penalty is None
    theta, state = method.after_step(THETA, STATE, THETA, THETA, {"lr": torch.tensor(0.1)})
    # lr strength importance = 0.25, 1, 0: (2 + 0.25) / 1.25, (-1 + 1) / 2, 7
    assert theta.tolist() == pytest.approx([1.8, 0.0, 7.0])
    assert state is STATE


def test_the_implicit_step_ends_where_its_gradient_step_began():
    # theta' = theta - pull (theta' - anchor), the step that uses the gradient at its end.
    generator = torch.Generator().manual_seed(0)
    theta, anchor = torch.randn(2, 50, dtype=torch.float64, generator=generator)
    pull = torch.logspace(-6, 6, 50, dtype=torch.float64)
    moved = towards(theta, anchor, pull)
    assert torch.allclose(moved, theta - pull * (moved - anchor), atol=1e-6)


@pytest.mark.parametrize("strength", [1e8, 1e300])
def test_no_strength_carries_beyond_the_anchor(strength):
    method = quadratic("pull", strength, "implicit")
    theta, _ = method.after_step(THETA, STATE, THETA, THETA, {"lr": torch.tensor(1e-3)})
    assert theta.tolist() == pytest.approx([1.0, 1.0, 7.0], abs=1e-4)


def test_at_the_anchor_nothing_moves():
    anchor = torch.randn(100, generator=torch.Generator().manual_seed(1))
    assert torch.equal(towards(anchor, anchor, torch.logspace(-9, 9, 100)), anchor)


def test_a_sum_of_quadratics_is_one_quadratic():
    generator = torch.Generator().manual_seed(2)
    importances = torch.rand(3, 5, dtype=torch.float64, generator=generator)
    importances[:, 0] = 0
    anchors = torch.randn(3, 5, dtype=torch.float64, generator=generator)
    state = {"importance": torch.zeros(5, dtype=torch.float64), "anchor": anchors[0] + 9}
    for importance, anchor in zip(importances, anchors, strict=True):
        state = summed(state, anchor, importance)
    theta = torch.randn(5, dtype=torch.float64, generator=generator)
    expected = (importances * (theta - anchors)).sum(0)
    assert torch.allclose(state["importance"] * (theta - state["anchor"]), expected)


def test_the_first_quadratic_of_a_sum_is_around_the_very_weights():
    theta = torch.randn(100, generator=torch.Generator().manual_seed(3))
    state = {"importance": torch.zeros(100), "anchor": torch.zeros(100)}
    assert torch.equal(summed(state, theta, torch.rand(100) + 1e-3)["anchor"], theta)


def test_unit_mean_counts_only_weights_that_have_any():
    assert unit_mean(torch.tensor([0.0, 2, 4])).tolist() == pytest.approx([0, 2 / 3, 4 / 3])
    assert unit_mean(torch.zeros(3)).tolist() == [0, 0, 0]
