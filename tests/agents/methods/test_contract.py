"""What holds for every method that can be chosen by name, and for all of them together."""

import numpy as np
import pytest
import torch

from agents import METHODS
from agents.methods import CONFLICTS


def together() -> str:
    """As many methods as do not contradict each other, the earlier ones of the registry first."""
    chosen: list[str] = []
    for name in METHODS:
        if not any(frozenset({name, other}) in CONFLICTS for other in chosen):
            chosen.append(name)
    return ",".join(chosen)


CHOICES = [*METHODS, together()]


@pytest.fixture(params=CHOICES)
def methods(request):
    return request.param


def train(agent, rows, learn, seeds: tuple[int, ...], steps: range) -> None:
    """Learns a task, ends it, and learns the other one from rows of both."""
    for step in steps:
        if step == 5:
            agent.end_task(rows([100 + seed for seed in seeds], n=16, task=0))
            agent.start_task(1, reset_optimizer=False)
        learn(agent, rows([1_000 * step + seed for seed in seeds], task=None if step >= 5 else 0))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_the_name_it_is_chosen_by(name, agent):
    assert [method.name for method in agent(methods=name).methods] == [name]


def test_weights_stay_finite_and_move(methods, agent, rows, learn):
    mine = agent((0, 1), methods=methods)
    start = mine.state["theta"].clone()
    train(mine, rows, learn, (0, 1), range(10))
    assert all(torch.isfinite(tensor).all() for tensor in mine.state.values())
    assert (mine.state["theta"] != start).any(1).all()


def test_a_member_learns_the_same_alone_and_among_others(methods, agent, rows, learn):
    together, alone = agent((4, 7, 1), methods=methods), agent((7,), methods=methods)
    train(together, rows, learn, (4, 7, 1), range(10))
    train(alone, rows, learn, (7,), range(10))
    for name, tensor in alone.state.items():
        assert np.allclose(tensor[0], together.state[name][1], rtol=1e-4, atol=1e-5), name


def test_a_restored_agent_learns_on_bit_by_bit(methods, agent, rows, learn, same):
    original, restored = agent((0, 1), methods=methods), agent((8, 9), methods=methods)
    train(original, rows, learn, (0, 1), range(7))
    restored.load_state_dict(original.state_dict())
    for each in (original, restored):
        train(each, rows, learn, (0, 1), range(7, 10))
    assert same(original.state_dict(), restored.state_dict())
