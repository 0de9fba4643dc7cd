"""Environments in processes: what goes wrong there is one line here, and nobody is left behind."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from envs import SharedSpace, Task, TaskEnvs, WorkerCrash
from envs.toy import Recall
from envs.workers import WorkerEnvs

pytestmark = pytest.mark.filterwarnings("ignore:.*ERROR")  # Gymnasium logs the workers' tracebacks
ROOT = Path(__file__).parents[2]


class Failing(Recall):
    """Fails at its third step in the way it is told to."""

    def __init__(self, how: str = "raise", **kwargs) -> None:
        super().__init__(**kwargs)
        self.how = how

    def step(self, action):
        if self._step == 2:
            if self.how == "raise":
                raise ZeroDivisionError("the simulator\ndivided by zero")
            if self.how == "raise what cannot be sent":
                raise type("Local", (Exception,), {})("only this process knows me")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


gym.register("test/Failing-v0", Failing)
FAILURES = {
    "raise": "ZeroDivisionError: the simulator divided by zero",
    "raise what cannot be sent": "Local: only this process knows me",
    "die": "the worker of environment 0 died, exit code -9",
}


@pytest.mark.parametrize(("how", "said"), FAILURES.items())
def test_a_failure_is_one_line_and_the_step_has_not_happened(how, said):
    task = Task("failing", "test/Failing-v0", kwargs={"how": how})
    envs = TaskEnvs(task, SharedSpace.of([task]), lambda e, k: e, 2, vectorization="async")
    processes = envs._envs.processes
    for _ in range(2):
        envs.step(np.zeros(2, int))
    before = envs.state_dict()
    with pytest.raises(WorkerCrash, match=rf"^test/Failing-v0: {said}\Z"):
        envs.step(np.ones(2, int))
    after = envs.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    envs.close()
    assert not any(process.is_alive() for process in processes)


def test_a_failure_at_a_reset_is_told_too():
    class NoStart(Recall):
        def reset(self, **kwargs):
            raise RuntimeError("no start")

    envs = WorkerEnvs("nothing", [NoStart] * 2)
    with pytest.raises(WorkerCrash, match=r"^nothing: RuntimeError: no start\Z"):
        envs.reset(seed=[1, 2])
    envs.close()


def test_closing_waits_for_no_answer_that_will_not_come():
    envs = WorkerEnvs("recall", [Recall] * 3)
    envs.reset(seed=0)
    envs.step_async(np.zeros(3, int))
    envs.parent_pipes[0].recv()  # as if stopped in the middle of reading
    processes = envs.processes
    envs.close()
    assert not any(process.is_alive() for process in processes)


def test_workers_do_not_inherit_what_signals_mean_to_the_parent():
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        envs = WorkerEnvs("recall", [partial(Recall, symbols=3)] * 2)
        for process in envs.processes:
            os.kill(process.pid, signal.SIGINT)  # a terminal sends Ctrl-C to all
        envs.reset(seed=0)
        envs.step(np.zeros(2, int))
        processes = envs.processes
        envs.close(terminate=True)  # by SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [process.exitcode for process in processes] == [-signal.SIGTERM] * 2


ENDLESS = """
import numpy as np
from envs import SharedSpace, TaskEnvs, find_task
task = find_task("retain/Recall")
envs = TaskEnvs(task, SharedSpace.of([task]), lambda e, k: e, 3, vectorization="async")
print(*[process.pid for process in envs._envs.processes], flush=True)
while True:
    envs.step(np.zeros(3, int))
"""


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes in /proc")
def test_workers_end_with_a_parent_that_is_killed():
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", ENDLESS]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as parent:
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 3
        assert all(map(is_running, pids))
        parent.kill()
    until = time.monotonic() + 20
    while any(map(is_running, pids)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(map(is_running, pids))
