"""Threads are chosen once, by measurement, and stay with the run."""

import json
import time

import pytest
import torch

from experiments import Config, threads, train
from experiments.threads import fastest_threads


@pytest.fixture
def tried(monkeypatch):
    """Measures as on four cores, whatever the network; updates take the given seconds."""
    monkeypatch.setattr(threads, "CORES", 4)
    monkeypatch.setattr(threads, "LARGE", 0)
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def make(run, seconds):
        def work(*given):
            now[0] += seconds[torch.get_num_threads()]

        whole = not run.agent.compiled
        monkeypatch.setattr(*(run.agent, "rehearse") if whole else (torch, "bmm"), work)
        return fastest_threads(run.agent, run.memories.columns, 1, 16)

    return make


@pytest.mark.parametrize("compiled", ["on", "off"])
@pytest.mark.parametrize(("on_four", "chosen"), [(0.5, 4), (0.9, 1), (2.0, 1)])
def test_more_threads_are_taken_only_where_clearly_faster(
    make_run, tried, on_four, chosen, compiled
):
    before = torch.get_num_threads()
    assert tried(make_run(compile=compiled), {1: 1.0, 4: on_four}) == chosen
    assert torch.get_num_threads() == before


def test_products_of_a_compiled_run_are_timed_in_its_precision(make_run, monkeypatch):
    monkeypatch.setattr(threads, "CORES", 4)
    monkeypatch.setattr(threads, "LARGE", 0)
    run, seen, multiply = make_run(compile="on"), set(), torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda a, b: seen.add((a.dtype, b.dtype)) or multiply(a, b))
    fastest_threads(run.agent, run.memories.columns, 1, 16, "bfloat16")
    assert seen == {(torch.bfloat16, torch.bfloat16)}


def test_a_small_network_has_one_thread_without_a_trial(make_run, monkeypatch):
    monkeypatch.setattr(threads, "CORES", 4)
    run = make_run()
    monkeypatch.delattr(type(run.agent), "rehearse")
    assert fastest_threads(run.agent, run.memories.columns, 1, 16) == 1


def test_what_methods_keep_does_not_make_a_network_large(make_run, monkeypatch):
    monkeypatch.setattr(threads, "CORES", 4)
    plain, kept = (make_run(methods=name) for name in ("none", "ogd:rows=50"))
    assert kept.agent.nbytes > 10 * plain.agent.nbytes
    assert kept.agent.num_parameters == plain.agent.num_parameters
    monkeypatch.setattr(threads, "LARGE", 16 * plain.agent.num_parameters + 1)
    monkeypatch.delattr(type(kept.agent), "rehearse")
    assert fastest_threads(kept.agent, kept.memories.columns, 1, 16) == 1


def test_a_trial_changes_nothing(make_run, same_bits, monkeypatch):
    monkeypatch.setattr(threads, "CORES", 2)
    monkeypatch.setattr(threads, "LARGE", 0)
    run = make_run(noisy=True)
    before = run.agent.state_dict()
    assert fastest_threads(run.agent, run.memories.columns, 1, 16) in (1, 2)
    same_bits(run.agent.state_dict()["learner"], before["learner"])
    assert run.agent.state_dict()["rngs"] == before["rngs"]


@pytest.mark.usefixtures("no_pictures")
def test_what_was_chosen_is_what_the_run_is_resumed_with(config, monkeypatch):
    monkeypatch.setattr("experiments.folders.fastest_threads", lambda *parts: 2)
    short = {"envs": "retain/Recall:80", "eval_interval": 0, "checkpoint_interval": 0}
    folder = train(config(**short, threads="auto")).folder
    assert json.loads((folder / "config.json").read_text())["threads"] == 2
    monkeypatch.setattr("experiments.folders.fastest_threads", lambda *parts: 1)
    assert train(Config(resume=str(folder))).summary["config"]["threads"] == 2
    torch.set_num_threads(1)
