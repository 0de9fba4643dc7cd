"""The agent never goes on with numbers that are not finite, and says which term made them."""

import numpy as np
import pytest

from agents import METHODS, Method, NonFiniteLoss


@pytest.mark.parametrize(("bad", "step"), [(np.nan, 0), (np.inf, 1), (np.nan, 2)])
def test_a_loss_that_is_not_finite_leaves_the_last_good_state(bad, step, agent, rows, same):
    mine = agent((0, 1))
    data = rows((0, 1), n=24)
    weight = np.ones((2, 24), np.float32)
    mine.update(data, weight, 3, 1e-3)
    before = mine.state_dict()
    broken = data["reward"].copy()
    broken[1, 8 * step] = bad
    with pytest.raises(NonFiniteLoss, match=r"td_loss became NaN or infinite in member \[1\]"):
        mine.update(data | {"reward": broken}, weight, 3, 1e-3)
    assert same(mine.state_dict(), before)
    mine.update(data, weight, 3, 1e-3)
    assert not same(mine.state_dict(), before)


def test_the_term_that_is_not_finite_is_named(agent, rows, learn):
    mine, data = agent(methods="distill"), rows()
    data["q"][0, 0, 0] = np.inf
    with pytest.raises(
        NonFiniteLoss, match=r"^distill_loss became NaN or infinite in member \[0\]"
    ):
        learn(mine, data)


def test_a_gradient_that_is_not_finite_leaves_the_last_good_state(
    agent, rows, learn, monkeypatch, same
):
    def steep(options):  # the root of 0 is 0, and its slope is infinite
        return Method("steep", loss=lambda theta, state, batch, q: (0 * theta).sum().abs().sqrt())

    monkeypatch.setitem(METHODS, "steep", steep)
    mine = agent(methods="steep")
    before = mine.state_dict()
    with pytest.raises(NonFiniteLoss, match=r"^the gradient with steep became NaN"):
        learn(mine, rows())
    assert same(mine.state_dict(), before)


def poison(theta, state, before, gradient, batch):
    return theta / (batch["reward"] != 7).all(), state  # by zero where a reward is 7


@pytest.mark.parametrize("step", [0, 1, 2])
@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
@pytest.mark.parametrize(
    ("moments", "said"),
    [
        ({"after_step": poison}, "the weights after wild's step"),
        (
            {"gradient": lambda g, *rest: g / (rest[2]["reward"] != 7).all()},
            "the gradient with wild",
        ),
        ({"loss": lambda t, s, b, q: q.sum() / (b["reward"] != 7).all()}, "wild_loss"),
        ({"penalty": lambda t, s, b: t.sum() / (b["reward"] != 7).all()}, "wild_penalty"),
    ],
    ids=["after a step", "gradient", "loss", "penalty"],
)
def test_of_several_steps_and_methods_the_first_to_fail_is_named(
    agent, rows, same, monkeypatch, moments, said, step, seeds
):
    """Whatever follows a number that is none has none either: those are not to blame."""
    monkeypatch.setitem(METHODS, "wild", lambda model: Method("wild", **moments))
    mine, weight = agent(seeds, methods="distill,l2,wild"), np.ones((len(seeds), 24), np.float32)
    before, data = mine.state_dict(), rows(seeds, n=24)
    data["reward"][-1, 8 * step] = 7
    with pytest.raises(NonFiniteLoss) as raised:
        mine.update(data, weight, 3, 1e-3)
    assert str(raised.value) == f"{said} became NaN or infinite in member [{len(seeds) - 1}]"
    assert same(mine.state_dict(), before)
