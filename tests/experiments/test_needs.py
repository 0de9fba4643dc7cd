"""A run says what memory it will take, and is refused where there is not as much."""

import pytest

from buffers import Column
from experiments import Config, Stopped, train
from experiments.memories import Memories
from experiments.needs import check_memory, rows_of
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
    built, build = [], Run._agent
    monkeypatch.setattr(
        Run, "_agent", lambda run, seeds: built.append(len(seeds)) or build(run, seeds)
    )
    with pytest.raises(ValueError, match=r"200 members need .* MB are available: use fewer"):
        train(config(seeds=200))
    with pytest.raises(ValueError, match=r"1,000,000,000,000 members need "):
        train(config(seeds=10**12))
    assert built == [1, 1]  # nobody waits for all of them
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "changes",
    [{"hidden": (10**7, 10**7)}, {"methods": "ogd:rows=2000000000"}, {"num_envs": 10**12}],
    ids=["network", "method", "environments"],
)
def test_what_does_not_fit_into_any_memory_is_one_line_with_the_figure(config, tmp_path, changes):
    with pytest.raises(ValueError, match=r"does not fit into memory: .*\d+ ?(bytes|TiB|GiB)"):
        train(config(**changes))
    assert not (tmp_path / "runs").exists()


def test_the_rows_of_a_round_of_updates_are_counted(config):
    with pytest.raises(ValueError, match=r"1 member needs [\d,.]+ MB: .* are available"):
        train(config(gradient_steps=10**12))


def test_steps_that_wait_for_the_end_of_their_sum_are_counted(config):
    given = {"tasks": 1, "columns": {"state": Column((4,))}, "agent_bytes": 0}
    check_memory(config(n_step=1_000), **given)
    with pytest.raises(ValueError, match=r"MB are available: use fewer .* or --n-step$"):
        check_memory(config(n_step=2**31 - 1), **given)


@pytest.mark.usefixtures("no_pictures")
def test_memory_that_runs_out_stops_the_run_which_can_be_resumed(config, monkeypatch):
    def full(*arguments):
        raise MemoryError("unable to allocate 3 GiB")

    with monkeypatch.context() as patch, pytest.raises(Stopped, match="3 GiB; go on with: python"):
        patch.setattr(Memories, "sample", full)
        train(config(name="mine", envs="retain/Recall:80,retain/RecallShifted:80"))
    assert len(train(Config(resume="mine", logdir=config().logdir)).summary["stages"]) == 2
