"""What benchmarks/replay.py says of adds to the memories."""

from argparse import Namespace

import pytest

BRIEF = {"capacity": 200, "own_capacity": 40, "batch": 16, "rounds": 1}


@pytest.fixture
def adds(monkeypatch):
    import replay_adds

    monkeypatch.setattr(replay_adds, "STREAMS", (10,))
    return replay_adds


def test_a_time_is_told_in_that_of_fifos_same_batch_and_in_that_of_its_single_row(adds):
    table = adds.own_table(
        [["fifo", 9, 10, 1, 100.0], ["fifo", 9, 10, 8, 400.0], ["facility", 9, 10, 8, 20.0]]
    )
    cells = [list(column.cells)[2] for column in table.columns]
    assert cells == ["facility", "9", "10", "8", "20", "20.00x", "5.00x"]


def test_memories_are_full_and_only_those_asked_for_are_measured(adds):
    found = adds.own_adds(Namespace(**BRIEF, adds_of=["fifo", "gss"]))
    fifo = [["fifo", 200, 10, batch] for batch in (1, 8, 16, 128)]
    assert [each[:4] for each in found] == fifo + [["gss", 40, 10, b] for b in (1, 8, 16)]
    assert all(rate > 0 for *_, rate in found)
    (memory,) = adds.passed_by(40, 10, ["gss"]).values()
    assert memory.seen > memory.capacity


def test_memories_that_are_not_measured_anew_keep_their_figures(adds, tmp_path):
    import replay

    file = tmp_path / "replay.json"
    file.write_text('{"batch": 16, "own_adds": [["gss", 1, 10, 1, 0.5], ["reward", 1, 10, 1, 7]]}')
    found = replay.renewed(file, Namespace(**BRIEF, adds_of=["gss"]))
    assert found["batch"] == 16
    assert found["own_adds"][0] == ["reward", 1, 10, 1, 7]
    assert [each[:2] for each in found["own_adds"][1:]] == [["gss", 40]] * 3
