"""What is saved of another agent is refused."""

import numpy as np
import pytest

from agents import METHODS, Method

OTHERS = {
    "widths": {"hidden": (16, 17)},
    "heads": {"head": "per_task"},
    "layers": {"layer_norm": True},
    "members": {"seeds": (0, 1)},
    "environments": {"num_envs": 5},
    "tasks": {"valid": np.ones((3, 3), bool)},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_the_state_of_another_agent_is_refused_and_nothing_is_taken_over(other, agent, same):
    mine = agent()
    before = mine.state_dict()
    with pytest.raises(ValueError, match=r"the checkpoint is of another agent: .* differs"):
        mine.load_state_dict(agent(**other).state_dict())
    assert same(mine.state_dict(), before)


def test_the_state_of_other_methods_is_refused(agent, monkeypatch):
    def keeper(options):
        return Method("keeper", init=lambda theta: {"anchor": theta})

    monkeypatch.setitem(METHODS, "keeper", keeper)
    with pytest.raises(ValueError, match=r"another agent: keeper\.anchor"):
        agent().load_state_dict(agent(methods="keeper").state_dict())
    with pytest.raises(ValueError, match=r"another agent: keeper\.anchor"):
        agent(methods="keeper").load_state_dict(agent().state_dict())
