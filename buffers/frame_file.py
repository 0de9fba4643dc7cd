"""Frames in a file: as many distinct ones as the disk has room for."""

import os
from pathlib import Path

import numpy as np

from buffers.frame_pool import FramePool


class FilePool(FramePool):
    """Frames in a file, whose space is reserved before they are written."""

    def __init__(self, folder: Path, size: int) -> None:
        super().__init__(size)
        self._file = folder / frame_file(size)
        self._frames = mapped(self._file, 1, size)
        self._keys += [0] * (len(self._frames) - 1)  # those there are unknown until `take_up`

    def _grow(self, more: int) -> None:
        if more <= 0:
            return
        before = len(self._frames)
        self._frames = mapped(self._file, before + more, self.dtype.itemsize)
        self._keys += [0] * more
        self._free = [*range(before + more - 1, before - 1, -1), *self._free]


def frame_file(size: int) -> str:
    """Name of the file of frames of so many bytes."""
    return f"frames{size}.bin"


def mapped(file: Path, rows: int, row_bytes: int) -> np.ndarray:
    """The records in a file, at least `rows` of them.

    Raises:
        OSError: the disk has no room for them; it says for how many bytes, in which file.
    """
    with file.open("r+b") as opened:
        before = os.fstat(opened.fileno()).st_size
        size = max(rows * row_bytes, before)
        if not size:
            return np.empty(0, f"V{row_bytes}")
        free = _free(file)
        try:
            os.posix_fallocate(opened.fileno(), 0, size)
        except OSError as error:
            more = f"expected room for {size - before:,} more bytes, {free:,} were free"
            raise OSError(error.errno, f"{error.strerror}: {more}", str(file)) from None
        return np.asarray(np.memmap(opened, f"V{row_bytes}", "r+", shape=(size // row_bytes,)))


def _free(file: Path) -> int:
    """Bytes of room on the file's disk."""
    disk = os.statvfs(file)
    return disk.f_bavail * disk.f_frsize
