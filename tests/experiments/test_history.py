"""What was noted is added up to the same bits, however often somebody looks."""

import numpy as np
import pytest

from experiments.history import History


def noted(history: History, looks: set[int]) -> History:
    rng = np.random.default_rng(0)
    for update in range(50):
        names = ("td_loss", "ewc_penalty", "q")
        history.note_update({name: rng.normal(size=3).astype(np.float32) for name in names})
        if update in looks:
            history.settle()
    return history


def test_updates_are_added_up_to_the_same_bits_at_any_pace():
    late, often = noted(History(), set()), noted(History(), {0, 7, 8, 31})
    assert late.state_dict() == often.state_dict()
    assert late.pending["learner/q"][1] == 150


def test_only_what_the_methods_and_the_td_loss_did_counts_for_the_stage():
    history = noted(History(), set())
    history.settle()
    assert history.acted == {n: history.pending[f"learner/{n}"] for n in ("td_loss", "ewc_penalty")}


def test_means_are_taken_once():
    history = History()
    history.note("a", np.array([1.0, 4.0]))
    history.note("a", np.array(4.0))
    history.note_update({"loss": np.array([2.0, 4.0], np.float32)})
    assert history.take_means() == {"a": pytest.approx(3), "learner/loss": pytest.approx(3)}
    assert history.take_means() == {}


def test_a_state_makes_the_same_history_again():
    history = noted(History(looked=5), {3})
    assert History(**history.state_dict()).state_dict() == history.state_dict()
