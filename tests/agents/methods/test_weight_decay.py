"""L1, L2, L2 to the initial and to the previous weights: their numbers by hand."""

import pytest
import torch

from agents import METHODS

THETA = torch.tensor([3.0, -2.0, 0.05])
STEP = {"lr": torch.tensor(0.1)}


def moved(method, state) -> list[float]:
    """Where a step's pull takes THETA."""
    return method.after_step(THETA, state, THETA, THETA, STEP)[0].tolist()


def test_l1_moves_each_weight_towards_zero_and_no_further():
    assert moved(METHODS["l1"](None, strength=1.0), {}) == pytest.approx([2.9, -1.9, 0])
    penalty = METHODS["l1"](None, strength=2.0, step="loss").penalty(THETA, {}, {})
    assert penalty.item() == pytest.approx(10.1)


def test_l2_shrinks_weights():
    # 1 + lr strength = 1.25
    assert moved(METHODS["l2"](None, strength=2.5), {}) == pytest.approx([2.4, -1.6, 0.04])
    penalty = METHODS["l2"](None, strength=2.0, step="loss").penalty(THETA, {}, {})
    assert penalty.item() == pytest.approx(13.0025)


def test_l2_init_pulls_to_the_first_weights():
    method = METHODS["l2_init"](None, strength=10.0)
    assert moved(method, method.init(torch.ones(3))) == pytest.approx([2, -0.5, 0.525])
    method = METHODS["l2_init"](None, strength=2.0, step="loss")
    penalty = method.penalty(THETA, method.init(torch.ones(3)), {})
    assert penalty.item() == pytest.approx(4 + 9 + 0.9025)


def test_l2_previous_pulls_to_where_the_last_task_ended():
    method = METHODS["l2_previous"](None, strength=10.0)
    state = method.init(torch.zeros(3))
    assert moved(method, state) == THETA.tolist()
    for end in (torch.zeros(3), torch.ones(3)):
        _, state = method.end_task(end, state, {})
    assert moved(method, state) == pytest.approx([2, -0.5, 0.525])


@pytest.mark.parametrize(("step", "ratio"), [("loss", 1), ("implicit", 100)])
def test_through_adam_idle_weights_move_whatever_the_strength(step, ratio, agent, rows, learn):
    way = []
    for strength in (0.01, 1):
        methods = f"l2:strength={strength},step={step}"
        mine = agent(head="per_task", gradient_clip=0.0, adam_epsilon=1e-9, methods=methods)
        before = mine.state["theta"].clone()
        where, _ = mine.learner.model.parameters()["advantage.bias"]
        for seed in range(5):
            learn(mine, rows((seed,), task=1))
        way.append((mine.state["theta"] - before)[0, where][0].abs())  # of the other task's head
    assert (way[1] / way[0]).item() == pytest.approx(ratio, rel=0.05)
