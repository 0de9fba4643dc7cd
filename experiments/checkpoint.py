"""Checkpoints: one file, written whole or not at all, read without running anything in it.

A file is a safetensors file: every array of the run's state under its path, and everything else as
JSON in the header, with a digest over both. No pickle.
"""

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

SUFFIX = ".safetensors"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes a tree of arrays and JSON values; a crash leaves the old file or the new one."""
    arrays: dict[str, np.ndarray] = {}
    rest = json.dumps(_take_arrays(state, "", arrays))
    digest = _digest(arrays, rest)
    write_atomically(path, save(arrays, {"tree": rest, "digest": digest}))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The tree that `save_checkpoint` wrote.

    Raises:
        ValueError: The file is damaged or is not a checkpoint.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = file.metadata() or {}
        rest, digest = header["tree"], header["digest"]
    except (SafetensorError, KeyError, OSError, struct.error) as error:
        raise ValueError(f"{path} is not a whole checkpoint: {error}") from None
    if _digest(arrays, rest) != digest:
        raise ValueError(f"{path} is damaged: its contents do not match its digest")
    return _put_arrays(json.loads(rest), arrays)


def checkpoint_files(folder: Path) -> list[Path]:
    """A run's checkpoints, oldest first; of one step, the one of the switch is the later one."""
    return sorted((folder / "checkpoints").glob(f"*{SUFFIX}"), key=lambda path: path.stem)


def load_newest(folder: Path) -> tuple[Path, dict[str, Any], list[str]]:
    """The newest whole checkpoint of a run, and what was wrong with newer ones.

    Raises:
        ValueError: There is none.
    """
    problems: list[str] = []
    for path in reversed(checkpoint_files(folder)):
        try:
            return path, load_checkpoint(path), problems
        except ValueError as error:
            problems.append(str(error))
    raise ValueError(problems[0] if problems else f"{folder} has no checkpoint to go on from")


def write_atomically(path: Path, data: bytes) -> None:
    """Replaces a file by new contents, which are on disk before the old ones are gone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:  # a full disk, or Ctrl-C: half of a file would take room for ever
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _take_arrays(tree: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """The tree without its arrays, which go to `arrays` under their paths."""
    if isinstance(tree, np.ndarray):
        arrays[path] = tree.copy(order="C")
        return {"__array__": path}
    if isinstance(tree, dict):
        return {k: _take_arrays(v, f"{path}/{k}", arrays) for k, v in tree.items()}
    return tree


def _put_arrays(tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The tree with its arrays back in their places."""
    if isinstance(tree, dict):
        if "__array__" in tree:
            return arrays[tree["__array__"]]
        return {k: _put_arrays(v, arrays) for k, v in tree.items()}
    return tree


def _digest(arrays: dict[str, np.ndarray], rest: str) -> str:
    digest = hashlib.blake2b(rest.encode(), digest_size=16)
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return digest.hexdigest()
