"""What holds for every method that can be chosen by name, and for all of them together."""

import inspect
from typing import get_args

import numpy as np
import pytest
import torch

from agents import METHODS
from agents.methods import CONFLICTS, KEEPERS


def together() -> str:
    """As many methods as do not contradict each other, the earlier ones of the registry first."""
    chosen: list[str] = []
    for name in METHODS:
        if not any(frozenset({name, other}) in CONFLICTS for other in chosen):
            chosen.append(name)
    return ",".join(chosen)


CHOICES = [*METHODS, together()]


def without_strength() -> list[str]:
    """Every method that has a strength, or two, at 0, with each of its ways to step."""
    found = ["clear:policy=0,value=0"]
    for name, build in METHODS.items():
        options = inspect.signature(build, eval_str=True).parameters
        steps = get_args(options["step"].annotation) if "step" in options else ()
        if "strength" in options:
            found += [f"{name}:strength=0" + f",step={step}" * bool(step) for step in steps or [""]]
    return found


@pytest.fixture(scope="module", params=CHOICES)
def methods(request):
    return request.param


@pytest.fixture(scope="module")
def lived(methods, agent, rows, learn):
    """An agent of two members after ten steps, its first weights, and its state after seven."""
    mine = agent((0, 1), methods=methods)
    start = mine.state["theta"].clone()
    train(mine, rows, learn, (0, 1), range(7))
    halfway = mine.state_dict()
    train(mine, rows, learn, (0, 1), range(7, 10))
    return mine, start, halfway


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


def test_weights_stay_finite_and_move(lived):
    mine, start, _ = lived
    assert all(torch.isfinite(tensor).all() for tensor in mine.state.values())
    assert (mine.state["theta"] != start).any(1).all()


def test_a_member_learns_the_same_alone_and_among_others(methods, agent, rows, learn):
    together, alone = agent((4, 7, 1), methods=methods), agent((7,), methods=methods)
    train(together, rows, learn, (4, 7, 1), range(10))
    train(alone, rows, learn, (7,), range(10))
    for name, tensor in alone.state.items():
        nearly = 1e-5 * max(1.0, float(tensor.to(torch.float64).abs().max()))
        assert np.allclose(tensor[0], together.state[name][1], rtol=1e-4, atol=nearly), name


def test_a_restored_agent_learns_on_bit_by_bit(methods, lived, agent, rows, learn, same):
    original, _, halfway = lived
    restored = agent((8, 9), methods=methods)
    restored.load_state_dict(halfway)
    train(restored, rows, learn, (0, 1), range(7, 10))
    assert same(original.state_dict(), restored.state_dict())


def test_every_method_but_the_rules_and_the_reset_can_be_without_strength():
    able = {text.partition(":")[0] for text in without_strength()}
    assert METHODS.keys() - able == {"pcgrad", "gem", "agem", "ogd", "reset"}


@pytest.mark.parametrize("methods", without_strength())
def test_without_strength_the_weights_are_those_of_textbook_dqn_bit_by_bit(
    methods, agent, rows, learn, same
):
    plain, mine = agent(head="per_task"), agent(head="per_task", methods=methods)
    for each in (plain, mine):
        train(each, rows, learn, (0,), range(10))
    assert all(same(plain.state[name], mine.state[name]) for name in ("theta", "target"))


@pytest.mark.parametrize("name", KEEPERS)
def test_what_holds_the_weights_is_refused_beside_a_reset(name, agent):
    with pytest.raises(ValueError, match=f"reset moves the weights away from where {name} holds"):
        agent(methods=f"reset,{name}")


@pytest.mark.parametrize("name", KEEPERS)
def test_a_huge_strength_holds_what_is_important_and_lets_the_rest_move(name, agent, rows, learn):
    mine = agent(head="per_task", methods=f"{name}:strength=1e8")
    for step in range(10):
        learn(mine, rows((step,), task=0))
    mine.end_task(rows((50,), n=16, task=0))
    mine.start_task(1, reset_optimizer=False)
    before, important = mine.state["theta"], mine.state[f"{name}.importance"] > 1e-2
    for step in range(30):
        learn(mine, rows((100 + step,), task=1), lr=3e-2)
    moved = (mine.state["theta"] - before).abs()
    assert torch.isfinite(moved).all()
    assert 0 < moved[important].max() < 1e-4
    assert name == "l2_previous" or moved[~important].max() > 0.1
