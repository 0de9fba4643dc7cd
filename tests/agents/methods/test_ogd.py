"""OGD: what was said of earlier tasks' rows stays, to first order."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.fx.experimental.proxy_tensor import make_fx

from agents.methods.ogd import extend, orthogonal, part_of, spanned, within

ROOM = torch.zeros(3, 4)


def test_by_hand_the_basis_is_made_of_what_is_new_in_each_vector():
    found = extend(ROOM, torch.tensor([[2.0, 0, 0, 0], [5, 3, 0, 0], [1, 1, 0, 0]]))
    assert found.abs().tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]


def test_by_hand_a_full_basis_takes_no_more():
    full = extend(ROOM, torch.eye(4)[:2])
    full = extend(full, torch.tensor([[1.0, 0, 0, 1], [0, 0, 1, 0]]))
    assert full.abs().tolist() == torch.eye(4)[[0, 1, 3]].tolist()
    assert torch.equal(extend(full, torch.eye(4)), full)


def test_by_hand_a_step_loses_its_part_in_the_basis():
    basis = torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 0.0]])
    assert orthogonal(torch.tensor([5.0, 0.0, 2.0]), basis).tolist() == pytest.approx(
        [3.2, -2.4, 2]
    )


@pytest.mark.parametrize("numbers", [2**17, 12, 1])
def test_of_many_members_each_loses_its_part_in_the_rows_that_it_uses(monkeypatch, numbers):
    """Two of the members' bases are not full; blocks are of all rows, of two, or of one."""
    monkeypatch.setattr(sys.modules["agents.methods.ogd"], "IN_CACHE", numbers)
    generator, used = torch.Generator().manual_seed(0), torch.tensor([5, 3, 0])
    vectors = torch.randn(3, 6, generator=generator)
    found = torch.randn(3, 5, 6, generator=generator)
    full = torch.stack([extend(torch.zeros(5, 6), rows) for rows in found])
    bases = full * (torch.arange(5)[:, None] < used[:, None, None])
    together = torch.func.vmap(within)(vectors, bases, used)
    for own, basis, count, part in zip(vectors, bases, used, together, strict=True):
        assert torch.equal(within(own, basis, count), part)
        assert torch.allclose(own - part, orthogonal(own, basis), atol=1e-6)
        assert part.any() == (count > 0)


def test_elsewhere_than_on_the_cpu_the_projection_can_be_captured():
    """No operator of our own, which would wait for the numbers, is among what is done."""
    vectors, bases = torch.ones(2, 6, device="meta"), torch.ones(2, 3, 6, device="meta")
    state = {"basis": bases, "used": torch.ones(2, dtype=torch.int64, device="meta")}
    done = make_fx(torch.func.vmap(part_of))(vectors, state).graph.nodes
    assert {node.target.namespace for node in done if node.op == "call_function"} == {"aten"}


def test_all_rows_give_what_those_in_use_give():
    generator = torch.Generator().manual_seed(0)
    found, vector = torch.randn(3, 6, generator=generator), torch.randn(6, generator=generator)
    basis = extend(torch.zeros(5, 6), found)
    part = within(vector, basis, torch.tensor(3))
    assert part.any()
    assert torch.allclose(spanned(vector, basis), part, atol=1e-6)


@given(arrays(np.int64, (5, 6), elements=st.integers(-3, 3)))
@settings(max_examples=50, deadline=None)
def test_the_basis_is_orthonormal_and_what_is_left_is_at_right_angles_to_it(vectors):
    *found, vector = torch.from_numpy(vectors).float()
    basis = extend(torch.zeros(5, 6), torch.stack(found[:2]))
    basis = extend(basis, torch.stack(found[2:]))
    rank = np.linalg.matrix_rank(vectors[:-1])
    expected = torch.diag((torch.arange(5) < rank).float())
    assert torch.allclose(basis @ basis.T, expected, atol=1e-5)
    assert (basis @ orthogonal(vector, basis)).abs().max() <= 1e-5
    for row in found:  # its span is all theirs
        assert orthogonal(row, basis).abs().max() <= 1e-5


def output_gradients(agent, data) -> torch.Tensor:
    """Of Q(s, a) of the first member's rows, one by one, [n, parameters]."""
    learner, state = agent.learner, {name: tensor[0] for name, tensor in agent.state.items()}
    theta, rows = state["theta"].clone().requires_grad_(), []
    obs, task = torch.from_numpy(data["state"][0]), torch.from_numpy(data["task"][0]).long()
    q = learner.q(state | {"theta": theta}, torch.zeros(0), obs, task)
    for row, action in enumerate(data["action"][0]):
        (gradient,) = torch.autograd.grad(q[row, int(action)], theta, retain_graph=True)
        rows.append(gradient)
    return torch.stack(rows)


@pytest.fixture
def after_a_task(agent, rows, learn):
    """An agent that ended task 0, and rows of that task: all that were shown when it ended."""

    def make(**changed):
        mine, samples = agent(gradient_clip=0.0, **changed), rows((9,), n=6, task=0)
        learn(mine, rows(task=0))
        mine.end_task(samples)
        mine.start_task(1, reset_optimizer=True)
        return mine, samples

    return make


def test_a_step_keeps_still_what_was_said_of_the_samples(after_a_task, rows, learn):
    mine, samples = after_a_task(methods="ogd:rows=6")
    before, directions = mine.state["theta"].clone(), output_gradients(mine, samples)
    said = mine.q(samples["state"], samples["task"])
    of_action = samples["action"][..., None]
    _, info = learn(mine, rows((4,), task=1))
    way = (mine.state["theta"] - before)[0]
    share = (directions @ way).abs() / (directions.norm(dim=1) * way.norm())
    assert way.norm() > 0.01
    assert share.max() < 1e-4
    assert info["ogd_moved"] > 0
    now = mine.q(samples["state"], samples["task"])
    moved = np.take_along_axis(now, of_action, 2) - np.take_along_axis(said, of_action, 2)
    assert np.abs(moved).max() < 1e-4  # second order in a step of 1e-3


def test_a_gradient_can_be_projected_instead(after_a_task, rows, learn):
    mine, samples = after_a_task(methods="ogd:rows=6,project=gradient")
    directions = output_gradients(mine, samples)
    learn(mine, rows((4,), task=1))
    gradient = 10 * mine.state["adam_mean"][0]
    share = (directions @ gradient).abs() / (directions.norm(dim=1) * gradient.norm())
    assert gradient.norm() > 0.01
    assert share.max() < 1e-5


def test_the_basis_takes_some_rows_of_each_task_evenly(after_a_task):
    mine, samples = after_a_task(methods="ogd:rows=2", head="per_task")
    basis = mine.state["ogd.basis"][0]
    assert basis.shape[0] == 4  # 2 rows of each of 2 tasks
    assert basis.any(1).tolist() == [True, True, False, False]
    ends = output_gradients(mine, {name: column[:, [0, -1]] for name, column in samples.items()})
    assert (ends - (ends @ basis.T) @ basis).norm() < 1e-4 * ends.norm()


@pytest.mark.parametrize("project", ["step", "gradient"])
def test_before_a_task_has_ended_it_is_textbook_dqn_bit_by_bit(learned, project):
    assert torch.equal(learned(methods=f"ogd:project={project}"), learned())


def test_no_rows_are_refused(agent):
    with pytest.raises(ValueError, match="ogd:rows must be at least 1, got 0"):
        agent(methods="ogd:rows=0")
