"""A checkpoint is one file, whole or refused, and reading it runs nothing."""

import json
import os
import pickle

import numpy as np
import pytest
from safetensors.numpy import load_file

from experiments.checkpoint import (
    checkpoint_files,
    load_checkpoint,
    load_newest,
    save_checkpoint,
    write_atomically,
)

TREE = {
    "clock": {"step": 7, "seconds": 0.1 + 0.2, "none": None, "text": 'a "quoted" é\n'},
    "rng": np.random.default_rng(0).bit_generator.state,  # integers of 128 bits
    "empty": {},
    "lists": [[1.5, 2.0], [], [True, None]],
    "arrays": {
        "float": np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32),
        "scalar": np.array(2.5),
        "flags": np.array([True, False, True]),
        "bytes": np.arange(6, dtype=np.uint8).reshape(1, 2, 3),
        "wide": np.array([-(2**63), 2**63 - 1]),
        "nothing": np.zeros((0, 5), np.int32),
        "nan": np.array([np.nan, -np.inf, -0.0]),
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "strided": np.arange(10)[::3],
    },
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoints" / "0000000100.safetensors"


def test_a_tree_comes_back_as_it_was(path, same_bits):
    save_checkpoint(path, TREE)
    same_bits(load_checkpoint(path), TREE)


def test_the_file_is_plain_safetensors_and_json(path, monkeypatch):
    save_checkpoint(path, TREE)
    monkeypatch.setattr(pickle, "loads", None)
    monkeypatch.setattr(pickle, "load", None)
    assert load_checkpoint(path)["clock"] == TREE["clock"]
    assert set(load_file(path)) == {f"/arrays/{name}" for name in TREE["arrays"]}
    size = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]
    assert json.loads(header["tree"])["clock"]["step"] == 7


def test_what_cannot_be_read_without_running_code_is_not_written(path):
    with pytest.raises(TypeError):
        save_checkpoint(path, {"object": object()})
    assert not path.exists()


def test_a_flipped_bit_in_any_byte_is_noticed(path):
    save_checkpoint(path, {"a": np.arange(3, dtype=np.float32), "flag": np.array(True), "b": "x"})
    whole = path.read_bytes()
    for place, byte in enumerate(whole):
        flipped = bytes([byte ^ 1 << place % 8])
        path.write_bytes(whole[:place] + flipped + whole[place + 1 :])
        with pytest.raises(ValueError, match=str(path)):
            load_checkpoint(path)


def test_every_truncated_file_is_noticed(path):
    save_checkpoint(path, {"a": np.arange(3, dtype=np.float32), "b": "x"})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=str(path)):
            load_checkpoint(path)


@pytest.mark.parametrize("other", ["missing", "folder", "other safetensors", "text"])
def test_what_is_no_checkpoint_is_refused(path, other):
    path.parent.mkdir()
    if other == "folder":
        path.mkdir()
    elif other == "other safetensors":
        from safetensors.numpy import save_file

        save_file({"weight": np.zeros(3)}, path)
    elif other == "text":
        path.write_text("weights")
    with pytest.raises(ValueError, match=str(path)):
        load_checkpoint(path)


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(path, moment, monkeypatch, same_bits):
    save_checkpoint(path, {"step": 1})

    def fail(*arguments):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, moment, fail)
        with pytest.raises(OSError, match="disk full"):
            save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path) == {"step": 1}
    assert list(path.parent.iterdir()) == [path]  # nothing takes room on a disk that is full
    save_checkpoint(path, {"step": 3})
    assert load_checkpoint(path) == {"step": 3}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("moment", "left"), [("fsync", 1), ("replace", 1), ("close", 2)])
def test_a_process_that_dies_while_writing_leaves_a_whole_file(path, moment, left):
    """It dies before the new file is on disk, before it has its name, and right after."""
    save_checkpoint(path, {"step": 1})
    child = os.fork()
    if child == 0:
        setattr(os, moment, lambda *arguments: os._exit(9))
        save_checkpoint(path, {"step": 2})
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    found, state, problems = load_newest(path.parents[1])
    assert (found, state, problems) == (path, {"step": left}, [])


def test_new_contents_are_on_disk_before_they_take_the_name(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        call = getattr(os, name)

        def note(*arguments, name=name, call=call):
            done.append(name)
            return call(*arguments)

        monkeypatch.setattr(os, name, note)
    write_atomically(tmp_path / "file", b"new")
    assert done == ["fsync", "replace", "fsync"]  # the file, its name, the folder


def test_the_newest_whole_checkpoint_is_found_and_the_damage_named(tmp_path):
    folder = tmp_path / "checkpoints"
    names = ["0000000100", "0000000200-after-stage-1", "0000000300", "0000000400-after-stage-2"]
    for step, name in enumerate(names):
        save_checkpoint(folder / f"{name}.safetensors", {"step": step})
    for name in names[2:]:
        (folder / f"{name}.safetensors").write_bytes(b"")
    path, state, problems = load_newest(tmp_path)
    assert (path.stem, state) == (names[1], {"step": 1})
    assert [name in problem for name, problem in zip(names[:1:-1], problems, strict=True)] == [1, 1]


def test_at_the_last_step_of_a_stage_what_was_saved_after_the_switch_is_newer(tmp_path):
    names = ["0000000100-after-stage-1", "0000000100", "0000000040"]
    for name in names:
        save_checkpoint(tmp_path / "checkpoints" / f"{name}.safetensors", {})
    assert [path.stem for path in checkpoint_files(tmp_path)] == names[::-1]


def test_where_every_checkpoint_is_damaged_the_newest_is_named(tmp_path):
    for name in ("1", "2"):
        write_atomically(tmp_path / "checkpoints" / f"{name}.safetensors", b"damaged")
    with pytest.raises(ValueError, match=r"2\.safetensors is not a whole checkpoint"):
        load_newest(tmp_path)


def test_without_any_checkpoint_there_is_nothing_to_go_on_from(tmp_path):
    with pytest.raises(ValueError, match="has no checkpoint to go on from"):
        load_newest(tmp_path)
