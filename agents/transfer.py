"""Tensors on the learner's device that mirror NumPy arrays: made once, then filled anew."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


class Shared:
    """Some arrays, and for each a tensor of the CPU that shares its memory.

    Args:
        arrays: By name.

    Attributes:
        tensors: By name.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def send(self) -> None:
        """Does nothing: the tensors are the arrays' own memory."""


class Transfer:
    """Some arrays, and for each a tensor of a GPU.

    Columns of a batch are views of packed rows. What is copied is the memory that they share, as it
    is and at once; on the device the columns are views again.

    Args:
        arrays: By name; `send` sends what is in them then.
        device: Where to.

    Attributes:
        tensors: By name, of the arrays' shapes and types; what is in them `send` decides.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], device: torch.device) -> None:
        self._pins = device.type == "cuda"
        self.tensors: dict[str, Tensor] = {}
        self._sent: dict[int, tuple[np.ndarray, Tensor]] = {}  # by the arrays' identity
        for name, array in arrays.items():
            whole = _whole(array, arrays)
            if id(whole) not in self._sent:
                room = -(-whole.nbytes // 8) * 8  # of whole numbers of any type
                self._sent[id(whole)] = whole, torch.empty(room, dtype=torch.uint8, device=device)
            self.tensors[name] = _part(self._sent[id(whole)][1], array, whole)

    def send(self) -> None:
        """Writes into the tensors what is in the arrays now, which may change at once."""
        for array, target in self._sent.values():
            source = torch.from_numpy(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
            # A GPU reads pinned memory by itself, later; PyTorch gives it to nobody before.
            given = source.pin_memory() if self._pins else source
            target[: len(source)].copy_(given, non_blocking=True)


Sender = Shared | Transfer


def transfer(arrays: Mapping[str, np.ndarray], device: torch.device) -> Sender:
    """Tensors of these arrays on a device, and the call that sends what is in the arrays."""
    return Shared(arrays) if device.type == "cpu" else Transfer(arrays, device)


def _whole(array: np.ndarray, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The base array if most of it is wanted, so that one copy serves all views; else `array`."""
    base = _base(array)
    wanted = sum(each.nbytes for each in arrays.values() if _base(each) is base)
    steps = (_first(array, base), *array.strides)
    fits = base.flags.c_contiguous and not any(step % array.itemsize for step in steps)
    return base if fits and base.nbytes <= 2 * wanted else array


def _base(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _first(array: np.ndarray, whole: np.ndarray) -> int:
    """Where in the bytes of `whole` an array begins."""
    first: int = array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    return first


def _part(room: Tensor, array: np.ndarray, whole: np.ndarray) -> Tensor:
    """A view of `room`, a copy of the bytes of `whole`, laid out as `array` is in `whole`."""
    typed = room.view(torch.from_numpy(np.empty(0, array.dtype)).dtype)
    if whole is array:
        return typed[: array.size].view(array.shape)
    strides = [stride // array.itemsize for stride in array.strides]
    return typed.as_strided(array.shape, strides, _first(array, whole) // array.itemsize)
