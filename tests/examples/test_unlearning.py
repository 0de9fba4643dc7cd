"""The example of unlearning: what it counts, and that it draws what it trained."""

import numpy as np
import pytest

from agents import compiling


@pytest.fixture
def unlearning(load):
    return load("unlearning")


def test_only_evaluations_after_a_member_solved_the_task_count(unlearning):
    """Of the first member three, of which one is lost; of the second none: it never solved it."""
    scores = np.array([[100, 100], [480, 100], [200, 100], [500, 100], [310, 100]])
    assert unlearning.unlearned(scores) == (1, pytest.approx(1 / 3))


@pytest.mark.slow
def test_it_trains_with_each_memory_and_draws_them(unlearning, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(compiling, "PLAIN_CALLS", float("inf"))  # recording takes the longest
    tiny = {
        "envs": "retain/Recall:160", "hidden": (16,), "num_envs": 4, "batch_size": 16,
        "learning_starts": 40, "eval_episodes": 2, "logdir": str(tmp_path),
    }  # fmt: skip
    unlearning.main(rows=64, steps=160, members=1, out=tmp_path / "curves.png", **tiny)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[::2]] == [*unlearning.memories(64)]
    assert (tmp_path / "curves.png").stat().st_size > 5_000
