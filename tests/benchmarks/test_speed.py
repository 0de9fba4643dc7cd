"""The helpers of benchmarks/speed.py: what it compares is alike, what it reports is what it saw."""

import importlib
import os
from types import SimpleNamespace

import numpy as np
import pytest

LIBRARIES = {
    "SB3 DQN": "stable_baselines3",
    "Tianshou DQN": "tianshou",
    "TorchRL DQN": "torchrl",
    "JAX DQN, jit": "jax",
}
NAMES = [pytest.param(name, marks=pytest.mark.slow) for name in LIBRARIES]


@pytest.mark.parametrize("name", ["CleanRL-style", "Retain, eager", *NAMES])
def test_every_peer_updates_once_per_step_after_the_first_ones(name):
    from peers import Setting, run_peer

    pytest.importorskip(LIBRARIES.get(name, "torch"))
    setting = Setting(steps=50, learning_starts=20, batch_size=8, hidden=8, eval_episodes=1)
    outcome = run_peer(name, setting)
    assert outcome.steps == 50
    assert outcome.updates in (30, 31)  # whether a library learns right before its 20th step
    assert len(outcome.returns) == 1 and outcome.returns[0] >= 1
    assert 0 < outcome.seconds < outcome.whole_seconds


def test_a_library_that_is_missing_is_left_out_and_named(monkeypatch):
    import peers
    import speed

    def measure(name, setting):
        return peers.run_peer(name, setting) and {}

    monkeypatch.setitem(speed.PEERS, "Absent", ("absent_dqn", {}))
    monkeypatch.setattr(speed, "measure", measure)  # in this process
    said = []
    found = speed.compare(peers.Setting(steps=1), ["Absent"], 1, said.append)
    assert found["rows"] == {}
    assert said == ["Absent: left out, since No module named 'peers.absent_dqn'"]


def test_exploration_falls_linearly_once_learning_starts():
    from peers import Setting

    setting = Setting(steps=1_000, learning_starts=10)
    steps = [0, 9, 100, 200, 999]
    assert [setting.epsilon(s) for s in steps] == pytest.approx([1, 1, 0.525, 0.05, 0.05])


def test_a_full_ring_overwrites_its_oldest_row_and_keeps_rows_together():
    from peers.ring import Ring

    ring = Ring(3, 2, np.random.default_rng(0))
    for row in range(5):
        ring.add([row, row], row, row, [row + 1, row + 1], row == 4)
    state, action, reward, next_state, done = ring.sample(200)
    assert set(action) == {2, 3, 4}
    assert np.array_equal(state, np.stack([action, action], 1))
    assert np.array_equal(next_state, state + 1)
    assert np.array_equal(reward, action) and np.array_equal(done, action == 4)


@pytest.mark.slow
def test_jax_and_the_script_make_the_same_step():
    jax = pytest.importorskip("jax")
    import torch
    from peers import Setting, cleanrl_dqn, jax_dqn
    from speed_update import jax_rows

    setting = Setting(hidden=8, batch_size=16, gradient_clip=0.1, target_interval=2)
    state = jax_dqn.init(jax.random.key(0), (4, 8, 8, 2))
    network, target = (cleanrl_dqn.QNetwork(4, 8, 2) for _ in range(2))
    for module in (network, target):
        tensors = [torch.tensor(np.asarray(x).T) for layer in state["theta"] for x in layer]
        torch.nn.utils.vector_to_parameters(
            torch.cat([t.flatten() for t in tensors]), module.parameters()
        )
    optimizer = torch.optim.Adam(network.parameters(), setting.learning_rate)
    rows = tuple(column[0] for column in jax_rows(setting, 1))
    batch = list(map(torch.from_numpy, rows))
    batch[1] = batch[1].long()
    update = jax.jit(jax_dqn.update_of(setting))
    for _ in range(3):
        state, _ = update(state, rows)
        cleanrl_dqn.update(network, target, optimizer, tuple(batch), setting)
        if int(state["updates"]) == 2:
            target.load_state_dict(network.state_dict())
    theirs = [np.asarray(x).T for layer in state["theta"] for x in layer]
    for mine, other in zip(network.parameters(), theirs, strict=True):
        np.testing.assert_allclose(mine.detach().numpy(), other, atol=1e-5)


def test_steps_that_compile_are_told_from_the_others(monkeypatch):
    from peers import stopwatch

    times = iter([0.0, 0.01, 0.02, 3.02, 3.03, 3.04])
    monkeypatch.setattr(stopwatch, "now", lambda: next(times))
    watch = stopwatch.Stopwatch()
    for _ in range(6):
        watch.step(SimpleNamespace(clock=SimpleNamespace(stage=0)))
    assert watch.seconds() == pytest.approx(0.06)
    assert watch.compile_seconds() == pytest.approx(2.99)


def test_a_step_that_loads_what_is_compiled_is_told_too_where_nothing_else_takes_long():
    from peers.stopwatch import CACHED, Stopwatch

    for compiling, seconds, found in ((0.5, 0.29 * 4 / 3, 0.0), (CACHED, 0.04, 0.26)):
        watch = Stopwatch(compiling)
        watch.times = {0: [0.0, 0.01, 0.28, 0.29]}
        assert watch.seconds() == pytest.approx(seconds)
        assert watch.compile_seconds() == pytest.approx(found)


def test_a_slow_step_among_slow_ones_does_not_compile():
    from peers.stopwatch import Stopwatch

    watch = Stopwatch()
    watch.times = {0: [0.0, 1.0, 2.0, 4.0]}
    assert watch.seconds() == pytest.approx(4 / 3 * 4)
    assert watch.compile_seconds() == 0


def test_a_filled_memory_is_full_for_every_member(tmp_path):
    from peers import Setting
    from peers.retain_dqn import config, fill

    from experiments.run import Run

    run = Run(config(Setting(capacity=100, hidden=8), tmp_path, compile="off", seeds=2))
    fill(run, 100)
    assert [len(buffer) for buffer in run.memories.buffers] == [100, 100]
    run.close()


def run_of(rate: float, **changes: object) -> dict:
    run = {"rate": rate, "returns": [1.0], "compile_seconds": 0.0, "steps": 10, "whole_seconds": 5}
    return run | changes


def test_ratios_are_of_medians_and_every_return_is_shown():
    from speed_report import peer_rows

    rows = {
        "SB3 DQN": [run_of(100), run_of(1), run_of(200)],
        "ours": [run_of(250, returns=[3.0, 4.0], compile_seconds=9.0, whole_seconds=2)],
    }
    assert peer_rows({"rows": rows}) == [
        ["SB3 DQN", "100", "1.00", "", "2", "1 1 1"],
        ["ours", "250", "2.50", "9", "5", "3 4"],
    ]


def test_the_default_run_is_compared_with_and_without_compiling():
    from speed_report import default_rows, share_lines

    row = {"seconds": 30.0, "compile_seconds": 10.0, "steps": 60, "returns": [[1.0], [2.0]]}
    ten = {"seconds": 60.0, "compile_seconds": 20.0, "steps": 600, "returns": [[1, 1], [2, 2]]}
    rows = {
        "Retain, defaults": row | {"time_shares": None},
        "ten": ten | {"time_shares": {"acting": 0.4, "learning": 0.6}},
        "apart": ten | {"time_shares": None, "compile_seconds": None},
    }
    assert default_rows({"rows": rows}) == [
        ["Retain, defaults", "30", "20", "2", "1.00", "1.00", "", "1", "2"],
        ["ten", "60", "40", "10", "2.00", "2.00", "40%", "1 1", "2 2"],
        ["apart", "60", "", "10", "2.00", "", "", "1 1", "2 2"],
    ]
    assert share_lines({"rows": rows}) == ["ten: learning 60%, acting 40%"]


def test_a_part_replaces_itself_and_no_other(tmp_path):
    from speed_report import merge, read

    path = tmp_path / "results" / "speed.json"
    for part, value in (("a", 1), ("b", 2), ("a", 3)):
        merge(path, part, {"value": value})
    assert read(path) == {"a": {"value": 3}, "b": {"value": 2}}


def test_the_picture_shows_every_curve(tmp_path):
    from speed_report import draw, picture

    points = {"1": {"rate": 10.0}, "4": {"rate": 30.0}}
    results = {"members": {"points": points}, "tasks": {"visit_seconds": [1.0, 2.0]}}
    curves = [axes.lines[0].get_xydata().tolist() for axes in picture(results).axes]
    assert curves == [[[1, 10], [4, 30]], [[1, 1], [2, 2]]]
    draw(results, tmp_path / "images" / "speed.png")
    assert (tmp_path / "images" / "speed.png").stat().st_size > 1_000
    draw({"peers": {}}, tmp_path / "nothing.png")
    assert not (tmp_path / "nothing.png").exists()


@pytest.mark.slow
def test_a_child_has_one_thread_and_a_cache_of_its_own(monkeypatch):
    from speed_children import in_child

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "mine")
    assert in_child(os.getenv, "OMP_NUM_THREADS") == "1"
    assert in_child(os.getenv, "TORCHINDUCTOR_CACHE_DIR") == "mine"
    assert in_child(os.getenv, "TORCHINDUCTOR_CACHE_DIR", cold=True) != "mine"


@pytest.mark.slow
def test_a_missing_module_of_a_child_is_an_import_error_here():
    from speed_children import in_child

    with pytest.raises(ImportError):
        in_child(importlib.import_module, "not_there")
