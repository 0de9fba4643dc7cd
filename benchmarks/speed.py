"""Speed: Retain beside other libraries doing the same work, and how its cost grows.

    python benchmarks/speed.py                     # everything: half an hour
    python benchmarks/speed.py --part peers update # some parts; the others' results stay

Each measurement runs in a process of its own, with one thread but for the default run. Results of
all parts are kept in benchmarks/results/speed.json, from which the tables are printed and
docs/images/speed.png is drawn (`--part none` does only that). Final greedy returns stand beside
the speeds: fast and not learning is worthless. A library that is not installed is left out, and
that is said: pip install -e ".[bench]" has them all.
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import speed_agreement
import speed_default
import speed_growth
import speed_update
from machine import machine
from peers import CLOCK, CLOCKS, PEERS, Setting, run_peer
from speed_children import in_child, in_children
from speed_report import draw, merge, print_tables, read

RESULTS = Path(__file__).parent / "results" / "speed.json"
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "speed.png"
# name in the table -> the peer in each of two processes, and what else its `train` takes
TWO_PROCESSES: dict[str, tuple[str, dict[str, int]]] = {
    "Retain, compiled, 10 members, 2 processes": ("Retain, compiled", {"seeds": 5}),
    "SB3 DQN, 2 processes": ("SB3 DQN", {}),
}
WIDE = (
    *("SB3 DQN", "CleanRL-style", "JAX DQN, jit", "Retain, compiled"),
    "Retain, compiled, bfloat16",
)
Say = Callable[[str], None]


def peers(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Everybody at 64-64, batches of 64; rounds over all of them, each with a seed of its own."""
    setting = Setting(steps=args.steps, seed=args.seed)
    return compare(setting, [*PEERS, *TWO_PROCESSES], args.repeats, say)


def wide(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Some at 256-256, batches of 128."""
    setting = Setting(steps=args.steps, seed=args.seed, hidden=256, batch_size=128)
    return compare(setting, WIDE, args.repeats, say)


def compare(setting: Setting, names: Any, repeats: int, say: Say) -> dict[str, Any]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for repeat in range(repeats):
        again = Setting(**asdict(setting) | {"seed": setting.seed + 100 * repeat})
        for name in names:
            try:
                run = measure(name, again)
            except ImportError as error:
                say(f"{name}: left out, since {error}")
                continue
            rows.setdefault(name, []).append(run)
            say(f"{name}: {run['rate']:,.0f} steps/s, return {run['returns']}")
    return {"setting": asdict(setting), "rows": rows}


def measure(name: str, setting: Setting) -> dict[str, Any]:
    """One run, as JSON; or two at once in two processes, their rates added."""
    if name in TWO_PROCESSES:
        peer, more = TWO_PROCESSES[name]
        seeds = [setting.seed, setting.seed + more.get("seeds", 1)]
        each = [Setting(**asdict(setting) | {"seed": seed}) for seed in seeds]
        runs = in_children([(partial(run_peer, **more), peer, own) for own in each], cold=True)
        rate = sum(run.rate for run in runs)
        return asdict(runs[0]) | {"rate": rate, "returns": [r for run in runs for r in run.returns]}
    run = in_child(run_peer, name, setting, cold=True)
    return asdict(run) | {"rate": run.rate}


def update(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    """The update alone, for one member and ten, at both sizes."""
    found: dict[str, Any] = {}
    for hidden, batch_size in ((64, 64), (256, 128)):
        setting = Setting(hidden=hidden, batch_size=batch_size, capacity=1_000)
        for name, subject in speed_update.SUBJECTS.items():
            for members in (1, 10):
                try:
                    seconds = in_child(subject, setting, members)
                except ImportError as error:
                    say(f"{name}: left out, since {error}")
                    continue
                key = f"{hidden}-{hidden}, batch {batch_size}, {members} member(s)"
                found.setdefault(key, {})[name] = members / seconds
                say(f"{name}, {key}: {members / seconds:,.0f} member-updates/s")
    return {"rows": found}


def growth(part: str) -> Callable[[argparse.Namespace, Say], dict[str, Any]]:
    """One growth curve."""

    def run(args: argparse.Namespace, say: Say) -> dict[str, Any]:
        points = {}
        for x in speed_growth.POINTS[part]:
            points[x] = in_child(speed_growth.GROWTH[part], args.growth_steps, x)
            say(f"{part} {x:,}: {points[x]['rate']:,.0f} steps/s")
        return {"steps": args.growth_steps, "points": points}

    return run


def tasks(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Twenty visits of four tasks."""
    found = in_child(speed_growth.tasks, args.growth_steps)
    say(f"tasks: the last round took {found['last_round_over_second']:.2f} times the second")
    return found


def default(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    """The default run, with the threads that each takes by itself."""
    rows = {}
    calls = {
        "SB3 DQN": (speed_default.sb3,),
        "Retain, defaults": (speed_default.retain, 1),
        "Retain, defaults, 10 members": (speed_default.retain, 10),
        "Retain, defaults, 10 members, 2 processes": (speed_default.retain, 10, 2),
    }
    for name, (function, *members) in calls.items():
        try:
            rows[name] = in_child(
                function, args.default_steps, args.seed, *members, cold=True, one_thread=False
            )
        except ImportError as error:
            say(f"{name}: left out, since {error}")
            continue
        say(f"{name}: {rows[name]['seconds']:.0f} s")
    return {"steps": args.default_steps, "rows": rows}


def agreement(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Whether eager, compiled and population runs come to the same returns."""
    rows = {}
    for kind in speed_agreement.KINDS:
        found = in_child(speed_agreement.returns, kind, args.default_steps, args.seed)
        rows[kind] = speed_agreement.summary(found)
        say(f"{kind}: return {rows[kind]['mean']:.0f}")
    return {"steps": args.default_steps, "rows": rows}


PARTS: dict[str, Callable[[argparse.Namespace, Say], dict[str, Any]]] = {
    "peers": peers,
    "wide": wide,
    "update": update,
    **{part: growth(part) for part in speed_growth.GROWTH},
    "tasks": tasks,
    "default": default,
    "agreement": agreement,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", default=["all"], choices=[*PARTS, "all", "none"])
    parser.add_argument("--steps", type=int, default=30_000, help="of each peer")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each peer; medians count")
    parser.add_argument("--default-steps", type=int, default=50_000, help="of each default task")
    parser.add_argument("--growth-steps", type=int, default=2_000, help="of each point and visit")
    parser.add_argument(
        "--clock", default="wall", choices=CLOCKS, help="cpu: where others use the machine too"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    args = parser.parse_args()
    os.environ[CLOCK] = args.clock
    wanted = [part for part in PARTS if part in args.part or "all" in args.part]
    for part in wanted:
        busy = {"load_before": os.getloadavg()[0], "clock": args.clock}
        before = machine() | busy
        merge(args.out, part, PARTS[part](args, print) | {"machine": before})
    results = read(args.out)
    print_tables(results)
    draw(results, args.picture)


if __name__ == "__main__":
    main()
