"""Long runs are compiled, and a compiled run resumes as exactly as any other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import Config, train
from experiments.compiling import compiles, how_updates_run

ROOT = Path(__file__).parents[2]


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


@pytest.mark.parametrize(("seeds", "expected"), [(1, False), (10, True)])
def test_a_run_of_many_members_is_compiled_sooner(seeds, expected):
    config = Config(seeds=seeds, train_interval=8, gradient_steps=4)
    assert compiles(config, 50_000) is expected


def test_without_a_compiler_a_run_is_eager_and_says_so(monkeypatch, caplog):
    monkeypatch.setattr("experiments.compiling.missing_compiler", lambda: "no g++ here")
    assert not compiles(Config(compile="on"), 1_000)
    assert caplog.messages == ["nothing can be compiled here, so the run is slower: no g++ here"]
    assert not compiles(Config(compile="off"), 1_000)
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    ("choice", "threads", "compiled", "said"),
    [
        ("auto", 1, False, "updates run eagerly on 1 thread: 500 do not win back the time of co"),
        ("off", 4, False, "updates run eagerly on 4 threads"),
        ("on", 1, True, "updates run compiled on 1 thread: the first one takes some ten seconds"),
    ],
)
def test_how_updates_run_is_said(choice, threads, compiled, said):
    config = Config(compile=choice, threads=threads, train_interval=8, gradient_steps=4)
    assert how_updates_run(config, 1_000, compiled).startswith(said)


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_a_compiled_run_resumes_bit_for_bit(config, stopped_at, same_outcome, caplog):
    whole = train(config(compile="on", name="whole"))
    stopped_at(config(compile="on", name="stopped"), 100)
    resumed = train(Config(resume=str(whole.folder.parent / "stopped")))
    assert resumed.summary["compiled"]
    assert not [message for message in caplog.messages if "runs slower" in message]
    same_outcome(resumed, whole)


@pytest.mark.usefixtures("no_pictures")
def test_where_compiling_fails_training_goes_on_and_the_summary_says_it_was_not_compiled(
    config, monkeypatch, caplog
):
    def fail(*arguments, **options):
        raise RuntimeError("no room on the disk")

    monkeypatch.setattr("torch._inductor.compile", fail)
    result = train(config(compile="on", envs="retain/Recall:120", eval_interval=0))
    assert result.summary["compiled"] is False
    failed = [line for line in caplog.messages if "cannot be compiled" in line]
    assert "the update cannot be compiled and runs slower: no room on the disk" in failed
    assert all("\n" not in line for line in failed)


@pytest.mark.slow
def test_a_compiler_that_only_says_its_version_is_told_of_in_one_line(tmp_path):
    """In a process of its own, since PyTorch remembers what it found out about the compiler."""
    compiler = tmp_path / "g++"
    compiler.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && { echo "g++ 13.2.0"; exit 0; }\n'
        'echo "main.cpp:1:1: fatal error: no omp.h" >&2\nexit 1\n'
    )
    compiler.chmod(0o755)
    flags = ("--envs", "retain/Recall:400", "--compile", "on", "--logdir", tmp_path / "runs")
    env = os.environ | {"CXX": str(compiler), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, ROOT / "train.py", *flags]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if "slower" in line]
    assert told == [
        "nothing can be compiled here, so the run is slower: "
        "CppCompileError: C++ compile error: main.cpp:1:1: fatal error: no omp.h"
    ]
