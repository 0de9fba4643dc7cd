"""MAS: the sensitivity of the outputs' size, worked out by hand."""

import torch

from agents import METHODS
from agents.methods.mas import sensitivity


def test_it_is_the_mean_size_of_each_rows_gradient(linear, theta, two_rows):
    # 2 Q s: row 1, Q = (1, 2): (2, 4), (4, 8); row 2, Q = (3, 0): (18, 0), (0, 0).
    assert sensitivity(linear, theta, two_rows(1)).tolist() == [0, 0, 0, 0, 10, 2, 2, 4]
    assert sensitivity(linear, theta, two_rows(0)).tolist() == [10, 2, 0, 0, 0, 0, 0, 0]


def test_gradients_of_unlike_sign_do_not_cancel(linear, theta, two_rows):
    batch = two_rows(0)
    batch["inputs"] = torch.tensor([[1.0, 2], [1, -2]])  # of Q^2: (2, 4) and (2, -4)
    assert sensitivity(linear, theta, batch)[:2].tolist() == [2, 4]


def test_tasks_add_up_around_the_latest_weights(linear, theta, two_rows):
    method = METHODS["mas"](linear, normalize=False)
    _, state = method.end_task(theta, method.init(theta), two_rows(0))
    _, state = method.end_task(2 * theta, state, two_rows(1))
    assert state["importance"].tolist() == [10, 2, 0, 0, 20, 4, 4, 8]
    assert torch.equal(state["anchor"], 2 * theta)
