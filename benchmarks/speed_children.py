"""Every measurement in a process of its own, with one thread: none warms up or slows another."""

import multiprocessing
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def in_children(calls: Sequence[tuple[Callable[..., Any], *tuple[Any, ...]]], cold: bool) -> list:
    """Results of functions, each called in a new process, all of them at the same time.

    Args:
        calls: Function and arguments; importable from a module.
        cold: With an empty cache of compiled code, as at the first run on a machine.

    Raises:
        Exception: What a call raised.
    """
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as cache,
        ProcessPoolExecutor(len(calls), context, _alone, (cache if cold else None,)) as pool,
    ):
        futures = [pool.submit(*call) for call in calls]
        return [future.result() for future in futures]


def in_child(function: Callable[..., Any], *arguments: Any, cold: bool = False) -> Any:
    """The result of one function, called in a new process."""
    return in_children([(function, *arguments)], cold)[0]


def _alone(cache: str | None) -> None:
    """Before anything is imported: one thread, and the cache of compiled code."""
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    if cache is not None:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
    warnings.simplefilter("ignore")  # of other libraries' deprecations
    import torch

    torch.set_num_threads(1)
