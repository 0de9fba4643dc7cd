"""Reference gradients are those of an agent that learns nothing but the reference rows."""

import numpy as np
import pytest
import torch

from agents.methods.references import old_gradient, task_gradients

TASKS = np.ones((3, 3), bool)


@pytest.fixture
def prepared(agent):
    """Model, weights and prepared batch of a fresh agent that learns task 2."""

    def make(data, weight=None):
        mine = agent(valid=TASKS, gradient_clip=0.0)
        mine.start_task(2, reset_optimizer=False)
        batch = {name: torch.from_numpy(column[0]) for name, column in data.items()}
        batch |= {name: batch[name].long() for name in ("action", "task")}
        ones = np.ones(data["reward"].shape, np.float32)
        batch["weight"] = torch.from_numpy(ones if weight is None else weight)[0]
        state = {name: tensor[0] for name, tensor in mine.state.items()}
        batch = mine.learner.prepare(state, batch | {"noise": torch.zeros(3, 0)})
        return mine.learner.model, state["theta"], batch

    return make


def test_of_all_old_rows_it_is_that_of_learning_only_them(prepared, gradient, opposed, of_task):
    data = opposed()
    expected = gradient(of_task(data, 0, 1))
    assert torch.allclose(old_gradient(*prepared(data))[None], expected, atol=1e-6)


def test_of_each_task_it_is_that_of_learning_only_its_rows(prepared, gradient, opposed, of_task):
    data = opposed()
    found = task_gradients(*prepared(data))
    for task in (0, 1):
        expected = gradient(of_task(data, task))
        assert torch.allclose(found[task][None], expected, atol=1e-6)
    assert len(found) == 2  # none of the running task, the third


@pytest.mark.parametrize("current", [0, 1, 2])
def test_the_current_task_alone_is_left_out(prepared, opposed, current):
    model, theta, batch = prepared(opposed(tasks=(0, 1, 2)))
    batch = batch | {"current_task": torch.full_like(batch["current_task"], current)}
    found = task_gradients(model, theta, batch)
    others = [task for task in (0, 1, 2) if task != current]
    for row, task in zip(found, others, strict=True):
        only = {**batch, "old": batch["task"] == task}
        assert torch.allclose(row, old_gradient(model, theta, only), atol=1e-6)


def test_rows_weigh_as_the_memory_says(prepared, gradient, opposed, of_task):
    data = opposed()
    weight = np.linspace(0.2, 3, data["reward"].size, dtype=np.float32)[None]
    expected = gradient(of_task(data, 0, 1), weight[:, :8])
    assert torch.allclose(old_gradient(*prepared(data, weight))[None], expected, atol=1e-6)


@pytest.mark.parametrize("tasks", [(2,), (0, 2)])
def test_a_task_without_rows_has_no_gradient(prepared, opposed, tasks):
    found = task_gradients(*prepared(opposed(tasks=tasks)))
    assert [bool(row.any()) for row in found] == [0 in tasks, False]
