"""What ends a run early says how to go on."""

import pickle
from pathlib import Path

import pytest

from experiments import Stopped, train


@pytest.mark.parametrize(
    ("saved", "said"), [(Path("runs/a"), "why; saved runs/a; then"), (None, "why; then")]
)
def test_a_stop_says_what_was_saved_in_another_process_too(saved, said):
    stopped = pickle.loads(pickle.dumps(Stopped("why", "then", saved)))
    assert str(stopped) == said
    assert (stopped.cause, stopped.then, stopped.saved) == ("why", "then", saved)


def test_a_run_that_ends_by_an_error_without_words_says_its_kind(config, looking):
    def full(monitor):
        raise MemoryError

    with looking(full), pytest.raises(Stopped, match=r"^MemoryError; go on with"):
        train(config())
