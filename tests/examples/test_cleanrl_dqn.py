"""The script in CleanRL's style, for a few hundred steps."""

import inspect

import numpy as np
import pytest


@pytest.fixture
def script(load):
    return load("cleanrl_dqn")


def few_steps(script, **changes):
    return script.Args(total_timesteps=400, learning_starts=50, batch_size=16, **changes)


def test_a_run_follows_from_its_seed(script):
    returns = script.train(few_steps(script))
    assert len(returns) > 5
    assert sum(returns) <= 400
    assert returns == script.train(few_steps(script))
    assert returns != script.train(few_steps(script, seed=2))


def test_every_row_of_several_environments_is_true(script, monkeypatch):
    """No row begins in the last state of an episode, or ends in the first of the next."""
    made = []

    class Watched(script.HybridBuffer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(script, "HybridBuffer", Watched)
    script.train(few_steps(script, num_envs=4))
    recent = made[0].recent
    rows = recent.read(recent.rows())
    assert len(rows["done"]) == 400
    assert rows["done"].sum() > 5
    # Within a step of CartPole a position moves by its velocity, 0.02 s long.
    moved = rows["next_state"][:, 0] - rows["state"][:, 0]
    assert moved == pytest.approx(0.02 * rows["state"][:, 1], abs=1e-5)
    fell = (np.abs(rows["next_state"][:, 2]) > 0.2095) | (np.abs(rows["next_state"][:, 0]) > 2.4)
    assert np.array_equal(rows["done"], fell)


def test_one_line_differs_from_the_script_with_stable_baselines3s_buffer(script, monkeypatch):
    buffers = pytest.importorskip("stable_baselines3.common.buffers")
    source = inspect.getsource(script.train)
    (was,) = [line for line in source.splitlines() if "# It was: rb = " in line]
    (now,) = [line for line in source.splitlines() if line.lstrip().startswith("rb = ")]
    theirs = source.replace(now, was.replace("# It was: ", ""))
    names = {**vars(script), "ReplayBuffer": buffers.ReplayBuffer}
    exec(theirs, names)
    assert len(names["train"](few_steps(script))) > 5
