"""What a method adds to an update, in time and in memory: the part `cost` of methods.py.

Time is that of a process with one thread, on its processor. An agent without methods and one with
them take turns, round by round, so that whatever slows the machine down slows both; what counts is
the median over rounds of one's time over the other's. Rows are random: half of the running task,
which is the last one, half of the earlier tasks. Each of these has ended, with all that methods do
then.

Kept in benchmarks/results/methods_cost.json, by sequence and setting (members, eager or compiled);
on another machine or with other versions a setting begins anew.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from rich.table import Table
from speed_report import merge, read

from experiments import Config
from experiments.run import Run

RESULTS = Path(__file__).parent / "results" / "methods_cost.json"
MEMBERS = (1, 10)
WAYS = {"eager": "off", "compiled": "on"}  # name -> the option `compile`
ROUNDS, SECONDS = 15, 0.03  # each round is about so long
SAMPLES = 64  # rows of a task that ends
Columns = dict[str, np.ndarray]
Call = Callable[[], Any]


def measure(envs: str, members: int, way: str, names: list[str], path: Path = RESULTS) -> None:
    """Measures methods in one setting, and keeps each result as it comes."""
    setting = f"{members} member{'s' * (members > 1)}, {way}"
    here = machine()
    date = here.pop("date")
    old = read(path).get(envs, {}).get(setting, {})
    rows = old["rows"] if old.get("machine") == here else {}
    plain, plain_run = prepared(envs, members, way, "none")
    for name in names:
        call, run = prepared(envs, members, way, name)
        kept = (run.agent.nbytes - plain_run.agent.nbytes) // members
        theta = run.agent.state["theta"][0].nbytes
        rows[name] = compared(plain, call) | {"bytes": kept, "theta_bytes": theta, "date": date}
        run.close()
        found = {setting: {"machine": here, "rows": rows}}
        merge(path, envs, read(path).get(envs, {}) | found)
        print(f"{setting}, {name}: {rows[name]['ratio']:.2f}", flush=True)
    plain_run.close()


def compared(plain: Call, other: Call) -> dict[str, Any]:
    """Ratio of two calls' times, and the times, each the median over rounds that alternate."""
    calls = [max(1, round(SECONDS / seconds_of(call, 3))) for call in (plain, other)]
    times = np.array(
        [
            [seconds_of(call, n) for call, n in zip((plain, other), calls, strict=True)]
            for _ in range(ROUNDS)
        ]
    )
    mine, base = 1e6 * np.median(times[:, 1]), 1e6 * np.median(times[:, 0])
    ratio = np.median(times[:, 1] / times[:, 0])
    return {"ratio": float(ratio), "microseconds": float(mine), "none_microseconds": float(base)}


def seconds_of(call: Call, calls: int) -> float:
    """Processor time of one of so many calls."""
    start = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - start) / calls


def prepared(envs: str, members: int, way: str, methods: str) -> tuple[Call, Run]:
    """An update of an agent in the last task, recorded or compiled, and the agent's run."""
    run = Run(Config(envs=envs, methods=methods, compile=WAYS[way], seeds=members))
    rng, tasks = np.random.default_rng(0), len(run.sequence.tasks)
    for task in range(tasks - 1):
        run.agent.end_task(rows_of(run, rng, np.full((members, SAMPLES), task)))
        run.agent.start_task(task + 1, reset_optimizer=False)
    half = run.config.batch_size // 2
    old = rng.integers(tasks - 1, size=(members, half))
    data = rows_of(run, rng, np.concatenate([old, np.full_like(old, tasks - 1)], 1))
    weight = np.ones(data["reward"].shape, np.float32)

    def update() -> None:
        run.agent.update(data, weight, 1, 1e-3)

    for _ in range(60):  # an update is recorded after some calls
        update()
    return update, run


def rows_of(run: Run, rng: np.random.Generator, task: np.ndarray) -> Columns:
    """Random rows of these tasks, [members, n]; those of ended tasks carry Q values."""
    members, n = task.shape
    state, following = rng.normal(size=(2, members, n, *run.space.shape)).astype(np.float32)
    valid = run.space.valid[task]
    q = rng.normal(size=valid.shape).astype(np.float32)
    last = len(run.sequence.tasks) - 1
    return {
        "state": state,
        "action": rng.integers(valid.sum(-1)),
        "reward": rng.normal(size=(members, n)).astype(np.float32),
        "next_state": following,
        "done": rng.random((members, n)) < 0.1,
        "task": task.astype(np.int32),
        "discount": np.full((members, n), 0.95, np.float32),
        "q": np.where(valid & (task < last)[..., None], q, np.float32(np.nan)),
    }


def table_of(envs: str, path: Path = RESULTS) -> Table:
    """What is kept of a sequence: each setting's ratios, and what a member's state holds."""
    found = {setting: kept["rows"] for setting, kept in read(path).get(envs, {}).items()}
    if not found:
        raise SystemExit(f"nothing is kept of {envs}: measure it first, without --table")
    table = Table(title=f"{envs}: one update of 128 rows, 64-64; its time over that of `none`")
    for column in ("methods", *found, "bytes per member", "times theta"):
        table.add_column(column)
    for name in dict.fromkeys(name for rows in found.values() for name in rows):
        own = [rows.get(name) for rows in found.values()]
        ratios = ["" if row is None else f"{row['ratio']:.2f}" for row in own]
        row = next(row for row in own if row)
        share = f"{row['bytes'] / row['theta_bytes']:.1f}"
        table.add_row(name, *ratios, f"{row['bytes']:,}", share)
    return table
