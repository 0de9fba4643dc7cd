"""A reset forgets everything but what is in the memory."""

import torch


def test_when_a_task_begins_weights_and_target_are_the_first_ones_again(agent, rows, learn):
    mine = agent((0, 1), methods="reset")
    first = mine.state["theta"].clone()
    for step in range(6):
        learn(mine, rows((step, 10 + step)))
    assert (mine.state["theta"] != first).any(1).all()
    assert (mine.state["target"] != first).any(1).all()
    mine.start_task(1, reset_optimizer=False)
    assert torch.equal(mine.state["theta"], first)
    assert torch.equal(mine.state["target"], first)


def test_what_was_learned_is_there_until_the_next_task_begins(agent, rows, learn):
    mine = agent(methods="reset")
    learn(mine, rows())
    learned = mine.state["theta"].clone()
    mine.end_task(rows())
    assert torch.equal(mine.state["theta"], learned)


def test_after_a_reset_a_task_is_learned_as_if_it_were_the_first(agent, rows, learn):
    early, late = agent(methods="reset"), agent(methods="reset")
    learn(late, rows((1,)))
    late.start_task(0, reset_optimizer=True)
    late.state["updates"].zero_()
    for step in range(10):
        learn(early, rows((step,)))
        learn(late, rows((step,)))
    assert torch.equal(early.state["theta"], late.state["theta"])
