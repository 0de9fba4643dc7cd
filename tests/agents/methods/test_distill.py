"""Distillation keeps the Q values of the last switch, where there are any."""

import numpy as np
import pytest
import torch

from agents import METHODS

NAN = float("nan")


@pytest.fixture
def loss():
    """Of Q values q where the values `stored` were stored."""

    def of(q, stored, strength: float = 1.0) -> torch.Tensor:
        method = METHODS["distill"](None, strength=strength)
        return method.loss(torch.zeros(1), {}, {"q": torch.tensor(stored)}, torch.as_tensor(q))

    return of


def test_it_is_the_mean_squared_distance_over_the_known_values(loss):
    # Distances 1, 3 and 2 are known: (1 + 9 + 4) / 3 = 14 / 3, times 1.5.
    q, stored = [[1.0, 2.0], [3.0, 4.0]], [[2.0, 5.0], [1.0, NAN]]
    assert float(loss(q, stored, strength=1.5)) == pytest.approx(7)


def test_where_nothing_is_known_it_is_zero_and_has_no_gradient(loss):
    q = torch.tensor([[1.0, 2.0]], requires_grad=True)
    nothing = loss(q, [[NAN, NAN]])
    nothing.backward()
    assert nothing.item() == 0
    assert q.grad.tolist() == [[0, 0]]


def test_the_gradient_pulls_only_known_values_towards_what_was_stored(loss):
    q = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    loss(q, [[NAN, 5.0], [NAN, NAN]]).backward()
    assert q.grad.tolist() == [[0, -6], [0, 0]]


def test_it_asks_for_stored_values(agent):
    assert agent(methods="distill").needs_q
    assert not agent(methods="none").needs_q


@pytest.mark.parametrize("case", ["strength 0", "nothing stored"])
def test_without_strength_or_stored_values_it_is_textbook_dqn_bit_by_bit(case, agent, rows, learn):
    strength = 0.0 if case == "strength 0" else 1.0
    plain, distilled = agent(), agent(methods=f"distill:strength={strength}")
    for step in range(20):
        data = rows((step,))
        if case == "nothing stored":
            data["q"][:] = np.nan
        learn(plain, data)
        learn(distilled, data)
    assert plain.state["theta"].numpy().tobytes() == distilled.state["theta"].numpy().tobytes()


def test_it_brings_the_network_back_to_the_stored_values(agent, rows, learn):
    mine, data = agent(methods="distill"), rows(n=32, task=1)
    stored = mine.q(data["state"], data["task"])
    mine.state["theta"] += 0.1

    def distance() -> float:
        return float(np.square(mine.q(data["state"], data["task"]) - stored).mean())

    before = distance()
    for _ in range(100):
        learn(mine, data | {"q": stored}, np.zeros((1, 32), np.float32), lr=1e-2)
    assert distance() < 0.01 * before
