"""What `auto` stands for on this machine: decided once, when a run starts."""

import dataclasses
from multiprocessing import current_process
from typing import Literal

import torch

from agents import FOR_IMAGES
from experiments.config import Config
from experiments.threads import cores

GUARD = 'with processes, call train below `if __name__ == "__main__":`, as each imports the script'


def settled(config: Config) -> Config:
    """The configuration with what `auto` stands for here, but for threads that take a trial.

    Raises:
        ValueError: Processes that cannot be had.
    """
    device = _device(config) if config.device == "auto" else config.device
    processes = _processes(config, device)
    threads = 1 if processes > 1 and config.threads == "auto" else config.threads
    return dataclasses.replace(config, device=device, processes=processes, threads=threads)


def _processes(config: Config, device: str) -> int:
    if config.processes == "auto":
        processes = 1 if device == "cuda" else min(config.seeds, cores())
    else:
        processes = config.processes
    if processes > 1 and device == "cuda":
        raise ValueError(f"{processes} processes cannot share a GPU: leave them out")
    if processes > 1 and getattr(current_process(), "_inheriting", False):  # imports a script
        raise ValueError(GUARD)
    return processes


def _device(config: Config) -> Literal["cpu", "cuda"]:
    """What `auto` stands for: small networks are faster without the way to a GPU and back."""
    pays = config.network in FOR_IMAGES and config.agent == "dqn"
    return "cuda" if pays and torch.cuda.is_available() else "cpu"
