"""DER is distillation whose rows stay out of the TD loss."""

import numpy as np
import torch


def test_its_term_is_that_of_distillation(agent, rows, prepared, call):
    mine, other = agent(methods="der:strength=3"), agent(methods="distill:strength=3")
    batch = prepared(mine, rows(n=32))
    assert call(mine, mine.methods[0], batch) == call(other, other.methods[0], batch)


def test_where_all_labels_are_met_old_rows_teach_nothing(agent, rows, learn, labelled):
    mine, plain = agent(methods="der"), agent()
    old, new = rows((1,), n=8, task=0), rows((2,), n=8, task=1)
    new["q"][:] = np.nan
    for each in (mine, plain):
        each.start_task(1, reset_optimizer=False)
    old = labelled(mine, old)
    learn(mine, {name: np.concatenate([old[name], new[name]], axis=1) for name in old})
    learn(plain, new)
    # The gradient, not the weights: Adam makes a hundredth of a step of its rounding.
    found, expected = mine.state["adam_mean"], plain.state["adam_mean"]
    assert torch.allclose(found, expected, atol=1e-6)
    assert expected.abs().max() > 1e-3


def test_without_rows_of_ended_tasks_it_is_textbook_dqn_bit_by_bit(agent, rows, learn, same):
    mine, plain = agent(methods="der"), agent()
    for step in range(10):
        data = rows((step,), task=0)
        data["q"][:] = np.nan
        learn(mine, data)
        learn(plain, data)
    assert same(mine.state_dict(), plain.state_dict())
