"""Tensors as the arrays that a checkpoint holds, and back."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def arrays_of(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Copies of named tensors as arrays."""
    return {name: tensor.cpu().numpy().copy() for name, tensor in tensors.items()}


def tensors_of(arrays: Mapping[str, np.ndarray], device: torch.device) -> dict[str, Tensor]:
    """Copies of named arrays as tensors."""
    return {name: torch.from_numpy(array.copy()).to(device) for name, array in arrays.items()}


def check_saved(mine: Mapping[str, Tensor], saved: Mapping[str, np.ndarray]) -> None:
    """Refuses what was saved of another network or other methods.

    Raises:
        ValueError: Names or shapes differ.
    """
    own = {name: tuple(tensor.shape) for name, tensor in mine.items()}
    other = {name: tuple(array.shape) for name, array in saved.items()}
    if own != other:
        wrong = sorted(set(own.items()) ^ set(other.items()))[0]
        raise ValueError(f"the checkpoint is of another agent: {wrong[0]} {wrong[1]} differs")
