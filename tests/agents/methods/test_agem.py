"""A-GEM takes out what points against the old rows' gradient, and nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agents.methods.agem import project

VECTORS = arrays(np.int64, (2, 5), elements=st.integers(-300, 300))


def test_by_hand():
    # dot -1, square 2: half of the reference comes back.
    found = project(torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0]))
    assert found.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("reference", [[2.0, -1.0], [1.0, 2.0], [0.0, 0.0]])
def test_where_nothing_is_opposed_the_gradient_stays_as_it_is(reference):
    gradient = torch.tensor([0.1, -0.0])
    found = project(gradient, torch.tensor(reference))
    assert found.numpy().tobytes() == gradient.numpy().tobytes()


@given(VECTORS)
@settings(max_examples=50, deadline=None)
def test_the_result_never_points_against_the_reference(vectors):
    gradient, reference = torch.from_numpy(vectors).float() / 8
    found = project(gradient, reference)
    sizes = float(gradient.norm() * reference.norm())
    assert float(found @ reference) >= -1e-5 * sizes
    # It is the nearest such vector: what was taken out is at right angles to what is left.
    assert abs(float((gradient - found) @ found)) <= 1e-5 * float(gradient.square().sum())


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
def test_a_reference_that_is_not_finite_is_not_overlooked(wrong):
    assert not torch.isfinite(project(torch.ones(2), torch.tensor([wrong, 0.0]))).all()


@pytest.mark.parametrize("seeds", [(0,), (3, 0, 5)])
def test_a_step_goes_by_the_new_rows_gradient_projected_on_the_old_rows(
    gradient, opposed, of_task, seeds
):
    data = opposed(seeds)
    new, old = gradient(of_task(data, 2), seeds=seeds), gradient(of_task(data, 0, 1), seeds=seeds)
    dot = (new * old).sum(1, keepdim=True)
    assert (dot < 0).all()
    expected = new - dot / old.square().sum(1, keepdim=True) * old
    found = gradient(data, seeds=seeds, methods="agem")
    assert torch.allclose(found, expected, atol=1e-5)


def test_without_old_rows_it_is_textbook_dqn_bit_by_bit(learned):
    assert torch.equal(learned(methods="agem"), learned())


def test_how_often_it_projects_is_shown(agent, opposed, learn, of_task):
    mine = agent(methods="agem", valid=np.ones((3, 3), bool))
    mine.start_task(2, reset_optimizer=False)
    data = opposed()
    assert learn(mine, data)[1]["agem_changed"] == 1
    assert learn(mine, of_task(data, 2))[1]["agem_changed"] == 0
