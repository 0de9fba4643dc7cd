"""Through the loop, what the learner found out about the rows it drew becomes their priority."""

import numpy as np
import pytest

from experiments import train
from experiments.loop import end_task, learn_task, start_task

ALPHA, EPS, UNIT = 0.6, 1e-6, 2**-24


def noted(owner, method: str) -> list:
    """The results of every call of a method from now on."""
    call, results = getattr(owner, method), []

    def noting(*arguments, **options):
        results.append(call(*arguments, **options))
        return results[-1]

    setattr(owner, method, noting)
    return results


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_priority_of_a_row_is_that_of_the_td_error_last_found(make_run, seeds):
    run = make_run(
        envs="retain/Recall:200", buffer="prioritized", methods="none", seeds=seeds,
        gradient_steps=2,
    )  # fmt: skip
    start_task(run)
    samples, updates = noted(run.memories, "sample"), noted(run.agent, "update")
    learn_task(run, lambda run: None)
    assert len(samples) == len(updates) == 21  # after steps 40, 48, ... 200
    for member, buffer in enumerate(run.memories.buffers):
        found = {}  # by slot; no row was overwritten
        for sample, (td_error, _) in zip(samples, updates, strict=True):
            found |= dict(zip(sample.index[member].tolist(), td_error[member], strict=True))
        slots, error = np.array(list(found)), np.abs(np.array(list(found.values()), np.float64))
        priority = buffer.state_dict()["priority"]
        assert np.array_equal(priority[slots], np.ceil((error + EPS) ** ALPHA / UNIT))
        assert len(set(priority[slots].tolist())) > 10


def test_feedback_reaches_the_rows_of_earlier_tasks_in_a_hybrid(make_run):
    run = make_run(
        envs="retain/Recall:200,retain/RecallShifted:200", memory="prioritized_reservoir"
    )
    memory = run.memories.buffers[0].memory
    start_task(run)
    learn_task(run, lambda run: None)
    end_task(run)
    assert len(set(memory.state_dict()["0.priority"].tolist())) == 1  # none was drawn yet
    start_task(run)
    learn_task(run, lambda run: None)
    drawn = memory.state_dict()["0.drawn"]
    assert len(set(memory.state_dict()["0.priority"][drawn].tolist())) > 10
    assert len(set(memory.state_dict()["1.priority"].tolist())) == 1


@pytest.mark.parametrize(
    "memory", [{"buffer": "rank"}, {"buffer": "hybrid", "memory": "prioritized_reservoir"}]
)
def test_a_stopped_run_goes_on_with_the_same_priorities(
    config, stopped_at, same_outcome, no_pictures, memory
):
    short = memory | {"envs": "retain/Recall:120,retain/RecallShifted:120", "eval_interval": 0}
    whole = train(config(**short, name="whole"))
    stopped_at(config(**short, name="stopped"), 160)
    same_outcome(train(config(**short, resume="stopped")), whole)
