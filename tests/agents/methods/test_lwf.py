"""LwF: on new rows, earlier tasks' heads stay where the teacher had them."""

import numpy as np
import pytest
import torch

from agents import METHODS
from agents.methods.lwf import earlier_tasks

VALID3 = np.array([[True, True, False], [True, True, True], [True, False, True]])


@pytest.fixture
def after_one(agent, rows):
    """An agent that has ended task 0 and moved on a little in task 1."""

    def make(methods: str = "lwf", **changed):
        mine = agent(methods=methods, **{"head": "per_task"} | changed)
        mine.end_task(rows((50,), n=16, task=0))
        mine.start_task(1, reset_optimizer=False)
        mine.state["theta"] += 0.1
        return mine

    return make


def test_its_loss_is_the_squared_distance_of_the_earlier_task_s_valid_q_values(
    after_one, rows, prepared, call
):
    mine = after_one("lwf:strength=3")
    batch, model = prepared(mine, rows(n=16, task=1)), mine.learner.model
    as_first = torch.zeros(16, dtype=torch.int64)
    theta, teacher = mine.state["theta"][0], mine.state["lwf.teacher"][0]
    assert torch.allclose(teacher + 0.1, theta)
    difference = (model.q(theta, batch, as_first) - model.q(teacher, batch, as_first))[:, :2]
    expected = float(3 * difference.square().mean())
    assert float(call(mine, mine.methods[0], batch)) == pytest.approx(expected, rel=1e-5)


def test_rows_of_earlier_tasks_and_a_missing_action_do_not_matter(after_one, rows, prepared, call):
    mine = after_one("lwf:strength=1")
    batch = prepared(mine, rows(n=16))
    changed = dict(batch, inputs=torch.where(batch["old"][:, None], 99.0, batch["inputs"]))
    theta = mine.state["theta"][0].clone().requires_grad_()
    loss = call(mine, mine.methods[0], batch, theta)
    assert loss == call(mine, mine.methods[0], changed)
    (gradient,) = torch.autograd.grad(loss, theta)
    heads = gradient[mine.learner.model.parameters()["advantage.bias"][0]].view(2, 3)
    assert (heads[0, :2] != 0).all()
    assert heads[0, 2] == 0  # task 0 lacks it
    assert (heads[1] == 0).all()  # the running task's own head is free


def test_before_a_task_has_ended_it_is_textbook_dqn_bit_by_bit(agent, rows, learn):
    mine, plain = agent(methods="lwf"), agent()
    for step in range(10):
        data = rows((step,), task=0)
        learn(mine, data)
        learn(plain, data)
    assert torch.equal(mine.state["theta"], plain.state["theta"])


def test_with_strength_0_it_is_textbook_dqn_bit_by_bit(after_one, rows, learn):
    mine, plain = after_one("lwf:strength=0"), after_one("none")
    for step in range(10):
        data = rows((step,))
        learn(mine, data)
        learn(plain, data)
    assert torch.equal(mine.state["theta"], plain.state["theta"])


def test_the_running_task_s_rows_go_through_all_earlier_tasks_in_turns():
    task = torch.tensor([2, 0, 2, 2, 1, 2])
    batch = {"task": task, "old": task != 2}
    chosen = []
    for turn in range(2):
        state = {"seen": torch.tensor([True, True, True]), "turn": torch.tensor(turn)}
        earlier, there = earlier_tasks(state, batch)
        assert there.tolist() == [True, False, True, True, False, True]
        chosen.append(earlier[there].tolist())
    assert chosen == [[1, 0, 1, 0], [0, 1, 0, 1]]


def test_more_earlier_tasks_than_rows_are_all_reached_after_some_updates():
    batch = {"task": torch.tensor([5, 5]), "old": torch.tensor([False, False])}
    seen, reached = torch.tensor([True, True, False, True, True, True]), set()
    for turn in range(4):
        reached |= set(earlier_tasks({"seen": seen, "turn": torch.tensor(turn)}, batch)[0].tolist())
    assert reached == {0, 1, 3, 4}


def test_the_turn_moves_on_and_the_tasks_seen_add_up(agent, rows, learn):
    mine = agent(methods="lwf", head="per_task", valid=VALID3)
    for task in (0, 1):
        learn(mine, rows((task,), task=task))
        mine.end_task(rows((10,), task=task))
    assert mine.state["lwf.turn"].tolist() == [2]
    assert mine.state["lwf.seen"].tolist() == [[True, True, False]]
    assert torch.equal(mine.state["lwf.teacher"], mine.state["theta"])


def test_a_single_head_is_held_where_it_is(after_one, rows, learn):
    """Earlier tasks' answers are the running task's own: the strongest hold is no learning."""
    ways, data = [], rows(n=32, task=1)
    for methods in ("lwf:strength=1000", "none"):
        mine = after_one(methods, head="single")
        mine.state["theta"] -= 0.1  # back to the teacher
        before = mine.q(data["state"], data["task"])
        for _ in range(30):
            learn(mine, data, lr=1e-2)
        change = (mine.q(data["state"], data["task"]) - before)[..., :2]  # what task 0 has
        ways.append(float(np.square(change).mean()))
    assert ways[0] < 0.01 * ways[1]


def test_it_must_be_told_the_task(agent):
    with pytest.raises(ValueError, match="lwf must be told the task"):
        agent(methods="lwf", task_identity="hidden")


def test_by_hand(linear, theta, two_rows):
    # As the earlier task, of one action, the rows are worth s_1: 1 and 3; now s_1 + s_2 / 2.
    batch = two_rows(1) | {"old": torch.tensor([False, False])}
    state = {"teacher": theta, "seen": torch.tensor([True, False]), "turn": torch.tensor(0)}
    moved = theta + torch.tensor([0.0, 0.5, 0, 0, 7, 7, 7, 7])
    found = METHODS["lwf"](linear, strength=3.0).loss(moved, state, batch, None)
    assert float(found) == 3 * ((2 - 1) ** 2 + 0) / 2
