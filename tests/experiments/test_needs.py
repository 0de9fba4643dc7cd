"""A run says what memory it will take, and is refused where there is not as much."""

import pytest

from experiments import train
from experiments.needs import rows_of
from experiments.run import Run


@pytest.mark.parametrize(
    ("buffer", "expected"), [("fifo", 300), ("reservoir", 300), ("hybrid", 300 + 3 * 40)]
)
def test_a_member_keeps_its_recent_rows_and_some_of_each_task(config, buffer, expected):
    assert rows_of(config(buffer=buffer), tasks=3) == expected


def test_what_is_said_is_what_a_full_memory_takes(config):
    run = Run(config(buffer="fifo", methods="none", seeds=3, capacity=100_000))
    megabytes = run.memories.buffers[0].nbytes / 1e6
    said = run.memory_needed
    assert said.startswith("3 members need ")
    assert f"{3 * megabytes + run.agent.nbytes / 1e6:,.1f} MB" in said
    assert f"{megabytes:,.1f} MB each" in said


def test_more_members_than_memory_allows_are_refused_before_the_run_starts(
    config, monkeypatch, tmp_path
):
    monkeypatch.setattr("experiments.needs.available_bytes", lambda: 500_000)
    Run(config(seeds=5), tmp_path)
    with pytest.raises(ValueError, match=r"200 members need .* MB are available: use fewer"):
        train(config(seeds=200))
    assert not (tmp_path / "runs").exists()
