"""Every measurement in a process of its own: none warms up or slows another."""

import multiprocessing
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def in_children(
    calls: Sequence[tuple[Callable[..., Any], *tuple[Any, ...]]],
    cold: bool,
    one_thread: bool = True,
) -> list:
    """Results of functions, each called in a new process, all of them at the same time.

    Args:
        calls: Function and arguments; importable from a module.
        cold: With an empty cache of compiled code, as at the first run on a machine.
        one_thread: Whether each has one thread; else as many as it would take by itself.

    Raises:
        Exception: What a call raised.
    """
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as cache,
        ProcessPoolExecutor(
            len(calls), context, _alone, (cache if cold else None, one_thread)
        ) as pool,
    ):
        futures = [pool.submit(*call) for call in calls]
        return [future.result() for future in futures]


def in_child(
    function: Callable[..., Any], *arguments: Any, cold: bool = False, one_thread: bool = True
) -> Any:
    """The result of one function, called in a new process."""
    return in_children([(function, *arguments)], cold, one_thread)[0]


def _alone(cache: str | None, one_thread: bool) -> None:
    """Before anything is imported: the threads, and the cache of compiled code."""
    for name in ONE_THREAD:
        os.environ.pop(name, None)
    if one_thread:
        os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    if cache is not None:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
    warnings.simplefilter("ignore")  # of other libraries' deprecations
    if one_thread:
        import torch

        torch.set_num_threads(1)
