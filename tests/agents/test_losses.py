"""Small functions of tensors, against numbers worked out by hand."""

import pytest
import torch

from agents.losses import action_gap, gradient_of, huber, mask_invalid, mean_where, task_mask

INF = float("inf")


@pytest.mark.parametrize(
    ("error", "delta", "loss"),
    [
        (0.5, 1, 0.125),  # 0.5 * 0.5^2
        (1.0, 1, 0.5),
        (-3.0, 1, 2.5),  # 1 * (3 - 0.5)
        (3.0, 2, 4.0),  # 2 * (3 - 1)
        (0.1, 0.05, 0.00375),  # 0.05 * (0.1 - 0.025)
        (-3.0, 0, 4.5),  # square everywhere
    ],
)
def test_huber_is_half_the_square_near_zero_and_linear_beyond_delta(error, delta, loss):
    assert float(huber(torch.tensor(error), delta)) == pytest.approx(loss)


@pytest.mark.parametrize(("delta", "slope"), [(1.0, 1.0), (2.0, 2.0), (0.0, 1e4)])
def test_the_slope_of_huber_is_at_most_delta_unless_that_is_zero(delta, slope):
    error = torch.tensor(1e4, requires_grad=True)
    huber(error, delta).backward()
    assert float(error.grad) == slope


def test_invalid_actions_have_minus_infinity_and_the_others_their_own_value():
    q = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    valid = torch.tensor([[True, False], [True, True]])
    assert mask_invalid(q, valid).tolist() == [[1.0, -INF], [3.0, 4.0]]


def test_the_action_gap_is_between_the_two_best_valid_actions():
    q = torch.tensor([[1.0, 9.0, 4.0], [5.0, 5.0, 0.0], [2.0, 7.0, 9.0]])
    valid = torch.tensor([[True, False, True], [True, True, True], [True, False, False]])
    assert action_gap(mask_invalid(q, valid)).tolist() == [3.0, 0.0, 0.0]
    assert action_gap(mask_invalid(q[:, :1], valid[:, :1])).tolist() == [0.0, 0.0, 0.0]


def test_the_mean_is_over_what_is_meant_and_zero_where_nothing_is():
    values = torch.tensor([1.0, float("nan"), 3.0])
    assert mean_where(values, torch.tensor([True, False, True])) == 2
    assert mean_where(values, torch.zeros(3, dtype=torch.bool)) == 0


def test_of_each_task_the_rows_that_are_of_it_are_told():
    rows = task_mask(torch.tensor([2, 0, 2]), 3)
    assert rows.tolist() == [[False, True, False], [False] * 3, [True, False, True]]
    assert task_mask(torch.tensor(1), 3).tolist() == [False, True, False]


def test_the_gradient_of_a_square_is_its_double():
    theta = torch.tensor([1.0, -2.0])
    gradient, info = gradient_of(lambda t: (t.square().sum(), {"double": 2 * t}), theta)
    assert gradient.tolist() == [2, -4]
    assert info["double"].tolist() == [2, -4]
    assert not info["double"].requires_grad
