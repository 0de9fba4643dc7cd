"""MeDQN: Q values stay near the target network's."""

import pytest
import torch

from agents import METHODS


def test_its_loss_is_the_mean_squared_distance_over_valid_actions(agent, rows, prepared, call):
    mine = agent(methods="medqn:strength=3")
    mine.state["target"] = mine.state["target"] + 0.1
    batch, model = prepared(mine, rows(n=16)), mine.learner.model
    q, target = model.q(mine.state["theta"][0], batch), model.q(mine.state["target"][0], batch)
    expected = 3 * (q - target)[batch["valid"]].square().mean()
    assert float(call(mine, mine.methods[0], batch)) == pytest.approx(float(expected), rel=1e-5)


def test_its_gradient_is_towards_the_target_and_only_of_actions_that_the_task_has(
    agent, rows, prepared
):
    mine = agent(methods="medqn:strength=1")
    batch = prepared(mine, rows(n=4, task=0))
    target = mine.learner.model.q(batch["target"], batch)
    q = (target + 2).detach().requires_grad_()
    mine.methods[0].loss(mine.state["theta"][0], {}, batch, q).backward()
    assert torch.allclose(q.grad, torch.tensor([[0.5, 0.5, 0.0]] * 4))  # 2 * 2 / 8


@pytest.mark.parametrize("case", ["strength 0", "target copied at each step"])
def test_without_strength_or_distance_it_is_textbook_dqn_bit_by_bit(case, agent, rows, learn):
    strength, interval = (0, 5) if case == "strength 0" else (1, 1)
    changed = {"target_update_interval": interval, "target_rate": 1.0}
    plain, mine = agent(**changed), agent(methods=f"medqn:strength={strength}", **changed)
    for step in range(20):
        learn(plain, rows((step,)))
        learn(mine, rows((step,)))
    assert torch.equal(plain.state["theta"], mine.state["theta"])


def test_it_slows_what_moves_away_from_the_target(agent, rows, learn):
    ways, data = [], rows(n=32, task=1)
    for methods in ("none", "medqn:strength=10"):
        mine = agent(methods=methods, target_update_interval=1_000)
        before = mine.q(data["state"], data["task"])
        for _ in range(30):
            learn(mine, data, lr=1e-2)
        ways.append(float(abs(mine.q(data["state"], data["task"]) - before).mean()))
    assert ways[1] < 0.3 * ways[0]


def test_by_hand(linear, theta, two_rows):
    # Of the first action the target says s_1 + s_2: 3 for 1, and 3 for 3. A mean over four values.
    batch = two_rows(1) | {"target": theta + torch.tensor([0.0, 0, 0, 0, 0, 1, 0, 0])}
    found = METHODS["medqn"](linear, strength=3.0).loss(theta, {}, batch, linear.q(theta, batch))
    assert float(found) == 3 * (3 - 1) ** 2 / 4
