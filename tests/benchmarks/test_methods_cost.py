"""The part `cost` of benchmarks/methods.py: a method and none take turns, and results are kept."""

import json

import numpy as np
import pytest

from agents import compiling

ENVS = "CartPole,Acrobot"


@pytest.fixture
def brief(monkeypatch):
    """One short round, in which nothing is recorded: that takes longer than all the rest."""
    import methods_cost

    monkeypatch.setattr(compiling, "PLAIN_CALLS", float("inf"))
    monkeypatch.setattr(methods_cost, "ROUNDS", 1)
    monkeypatch.setattr(methods_cost, "SECONDS", 1e-9)
    return methods_cost


def test_rounds_alternate_and_a_pause_of_the_machine_changes_no_ratio(monkeypatch):
    import methods_cost

    clock, order = [0.0], []

    def call(name, seconds):
        order.append(name)
        slower = 100 if len(order) > 12 else 1  # from some round on
        clock[0] += slower * seconds

    monkeypatch.setattr(methods_cost, "SECONDS", 1e-9)
    monkeypatch.setattr(methods_cost.time, "process_time", lambda: clock[0])
    found = methods_cost.compared(lambda: call("none", 2.0), lambda: call("mine", 3.0))
    assert order[6:] == ["none", "mine"] * methods_cost.ROUNDS  # six to see how many fit
    assert found["ratio"] == pytest.approx(1.5)


def test_only_rows_of_ended_tasks_and_actions_that_exist_carry_q_values():
    import methods_cost

    from experiments import Config
    from experiments.run import Run

    run = Run(Config(envs=ENVS))
    rows = methods_cost.rows_of(run, np.random.default_rng(0), np.array([[0, 0, 1]]))
    assert np.isfinite(rows["q"]).tolist() == [[[True, True, False]] * 2 + [[False] * 3]]
    assert (rows["action"] < [[2, 2, 3]]).all()


def test_each_method_is_kept_beside_those_of_before_and_shown(brief, tmp_path):
    path = tmp_path / "cost.json"
    brief.measure(ENVS, 1, "eager", ["l2_previous"], path)
    brief.measure(ENVS, 1, "eager", ["ogd"], path)
    setting = json.loads(path.read_text())[ENVS]["1 member, eager"]
    assert list(setting["rows"]) == ["l2_previous", "ogd"]
    row = setting["rows"]["l2_previous"]
    assert row["bytes"] == 2 * row["theta_bytes"] and row["ratio"] > 0
    names, ratios, sizes, vectors = (list(c.cells) for c in brief.table_of(ENVS, path).columns)
    assert names == ["l2_previous", "ogd"]
    assert ratios[0] == f"{row['ratio']:.2f}"
    assert sizes[0] == f"{row['bytes']:,}" and vectors[0] == "2.0"


def test_on_another_machine_a_setting_begins_anew(brief, monkeypatch, tmp_path):
    path = tmp_path / "cost.json"
    brief.measure(ENVS, 1, "eager", ["l2_previous"], path)
    other = brief.machine() | {"cpu": "another"}
    monkeypatch.setattr(brief, "machine", lambda: dict(other))
    brief.measure(ENVS, 1, "eager", ["l1"], path)
    assert list(json.loads(path.read_text())[ENVS]["1 member, eager"]["rows"]) == ["l1"]


def test_what_was_not_measured_is_said(tmp_path):
    import methods_cost

    with pytest.raises(SystemExit, match="nothing is kept of classic4: measure it first"):
        methods_cost.table_of("classic4", tmp_path / "none.json")
