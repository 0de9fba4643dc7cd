"""GEM goes the nearest way that harms no old task."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agents.methods.gem import project


def solve(gradient, references, margin: float = 0.0) -> torch.Tensor:
    return project(torch.tensor(gradient), torch.tensor(references), margin)


def test_by_hand_references_at_right_angles_are_taken_out_one_by_one():
    found = solve([-1.0, -2.0, 3.0], [[2.0, 0.0, 0.0], [0.0, 0.5, 0.0]])
    assert found.tolist() == pytest.approx([0, 0, 3])


def test_by_hand_a_projection_must_not_harm_another_task():
    # Allowed is x >= 0 and y >= x. Against the second alone it would be (-1/2, -1/2).
    assert solve([0.0, -1.0], [[1.0, 0.0], [-1.0, 1.0]]).tolist() == pytest.approx([0, 0])
    # Here the second alone is enough: (1, 0) - 1/2 (1, -1).
    assert solve([1.0, 0.0], [[1.0, 0.0], [-1.0, 1.0]]).tolist() == pytest.approx([0.5, 0.5])


def test_by_hand_the_margin_is_the_least_share_of_each_reference():
    assert solve([-1.0, 4.0], [[1.0, 0.0]], margin=0.5).tolist() == pytest.approx([0, 4])
    assert solve([-1.0, 4.0], [[1.0, 0.0]], margin=2.5).tolist() == pytest.approx([1.5, 4])


@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("references", [[[1.0, 0.0], [0.0, -1.0]], [[0.0, 0.0], [0.0, 0.0]]])
def test_where_nothing_is_opposed_the_gradient_stays_as_it_is(references, margin):
    found = solve([0.1, -0.0], references, margin)
    assert found.numpy().tobytes() == np.array([0.1, -0.0], np.float32).tobytes()


@given(arrays(np.int64, (4, 4), elements=st.integers(-30, 30)), st.sampled_from([0.0, 0.5]))
@example(np.array([[-1, -6, 0, 0], [-1, -1, 0, 0], [0, 0, 0, 0], [7, 0, 0, 0]]), 0.0)
@example(np.array([[1, 10, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]), 0.0)
@settings(max_examples=100, deadline=None)
def test_no_task_is_ever_opposed_and_no_more_is_changed_than_that_takes(vectors, margin):
    gradient, *old = vectors.astype(np.float32) / 8
    old = np.stack(old)
    found = solve(gradient, old, margin).double().numpy()
    assert (old @ found >= -1e-5 * (1 + np.abs(found).max())).all()
    if margin == 0:  # Moreau: what was added is at right angles to the nearest point of the cone
        added = found - gradient
        assert abs(added @ found) <= 1e-5 * np.square(gradient).sum()


@pytest.mark.parametrize(
    "references", [[[torch.nan, 0.0], [-1.0, 0.0]], [[torch.inf, 0.0]], [[torch.inf, 0.0]] * 2]
)
def test_a_gradient_that_is_not_finite_is_not_overlooked(references):
    assert solve([1.0, 0.0], references).isnan().all()


def test_side_by_side_members_get_what_each_gets_alone():
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(6, 5, generator=generator)
    old = torch.randn(2, 5, 6, generator=generator)
    together = torch.func.vmap(lambda g, G: project(g, G, 0.1), in_dims=(1, 1))(gradients, old)
    for member in range(5):
        alone = project(gradients[:, member].clone(), old[:, member].clone(), 0.1)
        assert torch.equal(together[member], alone)
    shared = torch.func.vmap(lambda g: project(g, old[:, 0], 0.0), in_dims=1)(gradients)
    assert torch.equal(shared[0], project(gradients[:, 0].clone(), old[:, 0], 0.0))


def test_the_operator_is_one_that_the_compiler_may_use():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(5, generator=generator), torch.randn(2, 5, generator=generator), 0.0
    checks = ("test_schema", "test_faketensor")
    assert set(torch.library.opcheck(project, inputs, test_utils=checks).values()) == {"SUCCESS"}


@pytest.mark.parametrize("seeds", [(0,), (3, 0, 5)])
def test_with_one_old_task_it_is_a_gem(gradient, opposed, seeds):
    data = opposed(seeds, tasks=(0, 2))
    found = gradient(data, seeds=seeds, methods="gem")
    assert not torch.allclose(found, gradient(data, seeds=seeds, methods="none"), atol=1e-3)
    assert torch.allclose(found, gradient(data, seeds=seeds, methods="agem"), atol=1e-5)


@pytest.mark.parametrize("seeds", [(0,), (3, 0, 5)])
def test_a_step_points_against_none_of_the_old_tasks(gradient, opposed, of_task, seeds):
    data = opposed(seeds)
    found = gradient(data, seeds=seeds, methods="gem")
    asked = gradient(of_task(data, 2), seeds=seeds)
    for task in (0, 1):
        old = gradient(of_task(data, task), seeds=seeds)
        assert ((asked * old).sum(1) < 0).all()
        # Of the length that was asked for: of what is left, which may be nothing, all is rounding.
        assert ((found * old).sum(1) >= -1e-5 * asked.norm(dim=1) * old.norm(dim=1)).all()


def test_without_old_rows_it_is_textbook_dqn_bit_by_bit(learned):
    assert torch.equal(learned(methods="gem:margin=0.5"), learned())
