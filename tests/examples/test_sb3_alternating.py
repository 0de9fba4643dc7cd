"""The example of alternating poles, only shorter."""

import json

import pytest


@pytest.fixture(scope="module")
def program(load):
    return load("sb3_alternating")


def test_the_pole_changes_at_the_first_reset_after_a_phase_and_steps_say_which(program):
    env = program.Poles(phase=3)
    seen = []
    for _ in range(5):
        env.reset(seed=0)
        for _ in range(2):
            *_, info = env.step(0)
            seen.append((info["task"], env.unwrapped.length))
    long, short = (0, 2.0), (1, 0.1)
    assert seen == [long] * 4 + [short] * 2 + [long] * 4  # step 3 is in mid-episode
    assert env.unwrapped.polemass_length == pytest.approx(0.1 * 2.0)


def test_every_memory_has_a_curve_of_every_pole(program, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    settings = {"phase": 256, "phases": 2, "interval": 128, "episodes": 1}
    results = program.main(**settings, seeds=2, out=tmp_path)
    assert results == json.loads((tmp_path / "sb3_alternating.json").read_text())
    assert results.keys() == program.MEMORIES.keys()
    for result in results.values():
        assert result["steps"] == [128, 256, 384, 512]
        assert [[len(scores) for scores in run] for run in result["returns"]] == [[2] * 4] * 2
    assert (tmp_path / "sb3_alternating.png").stat().st_size > 10_000
    assert capsys.readouterr().out.count("at the pole not in training") == 3
    assert not (tmp_path / "temporary").exists()  # where SB3 leaves a folder of each training


def test_memories_of_the_comparison_hold_as_many_rows(program):
    for memory in program.MEMORIES.values():
        of_tasks = memory.get("rows_per_task", 0) * len(program.POLES)
        assert memory["buffer_size"] + of_tasks == program.ROWS
