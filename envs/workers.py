"""Environments in processes of their own, which are never left behind."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.vector.async_vector_env import AsyncState, _async_worker

from envs.errors import one_line


class WorkerCrash(RuntimeError):
    """An environment failed in its worker, or the worker died."""


class WorkerEnvs(AsyncVectorEnv):
    """Gymnasium's `AsyncVectorEnv` over shared memory, whose failures are one line.

    It differs in what happens when something goes wrong: an environment's exception always comes
    through, `close` never waits for an answer that will not come, and Ctrl-C, which a terminal
    sends to all processes, is the parent's business alone.

    Args:
        name: What failures call the environment.
        makers: One function per copy that makes it.
    """

    def __init__(self, name: str, makers: Sequence[Callable[[], gym.Env[Any, Any]]]) -> None:
        self._name = name
        with self._in_one_line():
            super().__init__(makers, autoreset_mode=AutoresetMode.DISABLED, worker=_work)

    def step(self, actions: Any) -> Any:
        """Steps every copy, all at the same time.

        Raises:
            WorkerCrash: No copy can be used any more.
        """
        with self._in_one_line():
            return super().step(actions)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """Begins new episodes, all at the same time.

        Raises:
            WorkerCrash: No copy can be used any more.
        """
        with self._in_one_line():
            return super().reset(seed=seed, options=options)

    def close_extras(self, timeout: float | None = None, terminate: bool = False) -> None:
        """Ends the workers: in peace if all wait for an order, by force otherwise."""
        alive = all(process.is_alive() for process in self.processes)
        at_rest = self._state is AsyncState.DEFAULT and alive
        self._state = AsyncState.DEFAULT
        super().close_extras(timeout, terminate or not at_rest)

    @contextmanager
    def _in_one_line(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise WorkerCrash(f"{self._name}: {self._reason(error)}") from error

    def _reason(self, error: Exception) -> str:
        if isinstance(error, EOFError | ConnectionError):
            for number, process in enumerate(getattr(self, "processes", [])):
                process.join(0.2)  # until its exit code is known
                if process.exitcode:
                    return f"the worker of environment {number} died, exit code {process.exitcode}"
        return one_line(error)


class _Telling(gym.Wrapper[Any, Any, Any, Any]):
    """Makes every exception one that can be sent to another process."""

    def reset(self, **kwargs: Any) -> Any:
        with _sendable():
            return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        with _sendable():
            return self.env.step(action)


@contextmanager
def _sendable() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


def _work(index: int, make: Callable[[], gym.Env[Any, Any]], *rest: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a fork inherits the parent's handler
    with suppress(BrokenPipeError):  # the parent is gone, and nobody is left to be told
        _async_worker(index, lambda: _Telling(make()), *rest)
