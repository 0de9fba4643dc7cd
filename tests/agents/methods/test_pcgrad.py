"""PCGrad: surgery among the tasks' gradients, then their sum."""

import numpy as np
import pytest
import torch

from agents.methods.pcgrad import surgery


def in_a_circle(tasks: np.ndarray) -> np.ndarray:
    """The paper's algorithm 1 with the order i + 1, i + 2, ... in place of a drawn one."""
    result = tasks.copy()
    for i in range(len(tasks)):
        for step in range(1, len(tasks)):
            other = tasks[(i + step) % len(tasks)]
            dot = result[i] @ other
            if dot < 0:
                result[i] -= dot / (other @ other) * other
    return result


def after(tasks: torch.Tensor) -> torch.Tensor:
    return surgery(tasks @ tasks.T) @ tasks


def test_by_hand_two_tasks_each_give_up_what_opposes_the_other():
    assert after(torch.tensor([[1.0, 0.0], [-1.0, 1.0]])).tolist() == [[0.5, 0.5], [0, 1]]


def test_many_tasks_meet_in_a_circle():
    tasks = np.random.default_rng(0).normal(size=(5, 7))
    found = after(torch.from_numpy(tasks)).numpy()
    assert np.allclose(found, in_a_circle(tasks), rtol=1e-12)
    assert not np.allclose(found, tasks)


def test_without_conflict_each_task_stays_as_it_is():
    tasks = torch.tensor([[1.0, -0.0, 0.3], [0.0, 2.0, 0.1], [0.0, 0.0, 0.0]])
    assert torch.equal(surgery(tasks @ tasks.T), torch.eye(3))


def test_a_task_that_is_not_finite_is_not_overlooked():
    assert after(torch.tensor([[1.0, 0.0], [torch.nan, 0.0]])).sum(0).isnan().any()


@pytest.mark.parametrize("seeds", [(0,), (3, 0, 5)])
def test_a_step_goes_by_the_sum_after_surgery(gradient, opposed, of_task, seeds):
    data = opposed(seeds)
    tasks = [gradient(of_task(data, task), seeds=seeds) for task in (2, 0, 1)]
    found = gradient(data, seeds=seeds, methods="pcgrad")
    for member in range(len(seeds)):
        own = np.stack([task[member].double().numpy() for task in tasks])
        expected = in_a_circle(own).sum(0)
        assert not np.allclose(expected, own.sum(0), atol=1e-2)
        assert np.allclose(found[member], expected, atol=1e-5)


def test_without_old_rows_it_is_textbook_dqn_bit_by_bit(learned):
    assert torch.equal(learned(methods="pcgrad"), learned())


@pytest.mark.parametrize("seeds", [(0,), (3, 0)])
def test_old_rows_that_agree_are_added_without_surgery_and_that_is_shown(
    agent, opposed, learn, of_task, seeds
):
    mine = agent(seeds, methods="pcgrad", head="single", valid=np.ones((3, 3), bool))
    mine.start_task(2, reset_optimizer=False)
    data = opposed(seeds)
    agreeing = of_task(data, 2)
    agreeing = {name: np.concatenate([column] * 2, 1) for name, column in agreeing.items()}
    agreeing["task"][:, :4] = 0
    assert learn(mine, agreeing)[1]["pcgrad_changed"].tolist() == [0] * len(seeds)
    assert learn(mine, data)[1]["pcgrad_changed"].tolist() == [1] * len(seeds)
