"""Long runs are compiled, and a compiled run resumes as exactly as any other."""

import pytest

from experiments import Config, train
from experiments.compiling import compiles


@pytest.mark.parametrize(
    ("choice", "steps", "expected"),
    [
        ("off", 1_000_000, False),
        ("on", 1_000, True),
        ("auto", 1_000, False),
        ("auto", 100_000, True),
    ],
)
def test_a_run_is_compiled_if_asked_or_if_it_is_long(choice, steps, expected):
    assert compiles(Config(compile=choice, train_interval=8, gradient_steps=4), steps) is expected


def test_without_a_compiler_a_run_is_eager_and_says_so(monkeypatch, caplog):
    monkeypatch.setattr("experiments.compiling.missing_compiler", lambda: "no g++ here")
    assert not compiles(Config(compile="on"), 1_000)
    assert caplog.messages == ["nothing can be compiled here, so the run is slower: no g++ here"]
    assert not compiles(Config(compile="off"), 1_000)
    assert len(caplog.messages) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_a_compiled_run_resumes_bit_for_bit(config, stopped_at, same_outcome, caplog):
    whole = train(config(compile="on", name="whole"))
    stopped_at(config(compile="on", name="stopped"), 100)
    resumed = train(Config(resume=str(whole.folder.parent / "stopped")))
    assert resumed.summary["compiled"]
    assert not [message for message in caplog.messages if "runs slower" in message]
    same_outcome(resumed, whole)
