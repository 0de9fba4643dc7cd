"""What does each method keep, and at what cost? Every method alone, combined, and the controls.

    python benchmarks/methods.py --seeds 10
    python benchmarks/methods.py --envs classic4
    python benchmarks/methods.py --part cost

Controls: `fine-tune` (recent steps only, no method), `reset` (the same, and every task begins with
the first weights), `separate` (a network per task, trained on it alone) and `joint` (all tasks in
turn, many short visits, all rows of all of them in one memory). Methods that need no rows of
earlier tasks stand beside `fine-tune`, the others beside `replay`, the same memory and no method.

Performance is per task 0 for a random policy and 1 for what a network of its own reaches (the mean
of `separate`), so that unlike tasks add up; `worst task` is the smallest of the tasks' means. Each
variant is kept in benchmarks/results/methods/; `--table` only prints what is there. The part `cost`
is methods_cost.py's.
"""

import argparse
import json
from itertools import product
from pathlib import Path
from typing import Any

import methods_cost
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats
from speed_children import in_child

from agents import METHODS
from envs import parse_sequence
from experiments import Config, train
from experiments.metrics import interval, member_metrics, normalize

RESULTS = Path(__file__).parent / "results" / "methods"
NO_REPLAY = {"buffer": "fifo"}
VISITS = 10  # of the joint control to each task
CONTROLS: dict[str, dict[str, Any]] = {
    "fine-tune": {**NO_REPLAY, "methods": "none"},
    "reset": {**NO_REPLAY, "methods": "reset", "reset_optimizer": True},
    "replay": {"methods": "none"},
}
# Methods that need no rows of earlier tasks are shown without any.
WITHOUT_ROWS = ("l1", "l2", "l2_init", "l2_previous", "ewc", "si", "mas", "rwalk", "spectral")
WITHOUT_ROWS += ("parseval", "lwf", "medqn", "ogd")
COMBINATIONS = ("distill,clear", "distill,l2_init", "distill,agem", "distill,ewc", "distill,si")
COMBINATIONS += ("clear,agem", "clear,mas")


def variants() -> dict[str, dict[str, Any]]:
    """Name -> changes to the defaults, of everything that is one run."""
    alone = {
        name: {"methods": name} | (NO_REPLAY if name in WITHOUT_ROWS else {})
        for name in METHODS
        if name != "reset"
    }
    return CONTROLS | alone | {names: {"methods": names} for names in COMBINATIONS}


def one_run(envs: str, name: str, changes: dict[str, Any], args: argparse.Namespace) -> Any:
    """The summary of a run of all members."""
    config = Config(
        envs=envs, steps=args.steps, seed=args.seed, seeds=args.seeds, eval_interval=0,
        logdir=args.logdir, name=f"methods-{name}", overwrite=True, **changes,
    )  # fmt: skip
    return train(config).summary


def separate(args: argparse.Namespace) -> dict[str, Any]:
    """A network per task: only the diagonal of a score matrix, in no order."""
    sequence = parse_sequence(args.envs, args.steps)
    final, random, seconds = [], [], 0.0
    for task in sequence.tasks:
        single = task.env_id if task.steps is None else f"{task.env_id}:{task.steps}"
        summary = one_run(
            single, f"separate-{task.name.replace('/', '_')}", NO_REPLAY | {"methods": "none"}, args
        )
        final.append(np.array(summary["scores"])[:, -1, 0])
        random.append(summary["reference"]["random"][0])
        seconds += summary["wall_seconds"]
    return {
        "tasks": sequence.names,
        "final": np.stack(final, axis=1).tolist(),
        "random": random,
        "seconds": seconds,
    }


def joint(args: argparse.Namespace) -> dict[str, Any]:
    """All tasks in turn, as often as it takes to make the order not matter."""
    sequence = parse_sequence(args.envs, args.steps)
    visits = [
        f"{sequence.tasks[stage.task].env_id}:{stage.steps // VISITS}" for stage in sequence.stages
    ]
    changes: dict[str, Any] = {"methods": "none", "restart_schedules": False}
    changes |= {"buffer": "fifo", "capacity": 200_000, "clear_at_switch": False}
    changes |= {"learning_starts": 100}
    summary = one_run(",".join(visits * VISITS), "joint", changes, args)
    return result_of(summary) | {"stages": None}


def result_of(summary: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a run."""
    scores = np.array(summary["scores"])
    names = summary["tasks"]
    return {
        "tasks": names,
        "stages": [names.index(stage) for stage in summary["stages"]],
        "scores": scores.tolist(),
        "final": scores[:, -1].tolist(),
        "random": summary["reference"]["random"],
        "seconds": summary["wall_seconds"],
        "methods": summary["config"]["methods"],
        "buffer": summary["config"]["buffer"],
    }


def measure(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Trains one variant."""
    if name == "separate":
        return separate(args)
    if name == "joint":
        return joint(args)
    return result_of(one_run(args.envs, name.replace(",", "-"), variants()[name], args))


def file_of(name: str, args: argparse.Namespace) -> Path:
    """Where a variant is kept."""
    stem = f"{args.envs}_{name}".replace(",", "_").replace("-", "_").replace("/", "_")
    return RESULTS / f"{stem.lower()}.json"


def add_row(
    table: Table, name: str, result: dict[str, Any], alone: dict[str, Any], tuned: Any
) -> None:
    """A variant's line: performance on the scale from random to a network of its own."""
    random, reference = alone["random"], np.array(alone["final"]).mean(0)
    final = normalize(np.array(result["final"]), random, reference)
    cells = [shown(final.mean(1)), f"{final.mean(0).min():.2f}"]
    if result.get("stages"):
        scores = normalize(np.array(result["scores"]), random, reference)
        metrics = member_metrics(scores, result["stages"])
        cells += [shown(metrics[key]) for key in ("forgetting", "backward_transfer")]
        cells += [shown(metrics["forward_transfer"])]
    else:
        cells += ["", "", ""]
    returns = " ".join(f"{value:.0f}" for value in np.array(result["final"]).mean(0))
    p = (
        ""
        if tuned is None
        else f"{stats.ttest_ind(final.mean(1), tuned, equal_var=False).pvalue:.3f}"
    )
    table.add_row(name, *cells, p, returns, f"{result['seconds']:.0f}")


def shown(values: np.ndarray) -> str:
    """Mean and 95% interval."""
    found = interval(values)
    if found["mean"] is None or found["low"] is None:
        return "" if found["mean"] is None else f"{found['mean']:.2f}"
    return f"{found['mean']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def print_table(names: list[str], args: argparse.Namespace) -> None:
    """Every variant that is kept, beside a network per task."""
    found = {
        n: json.loads(file_of(n, args).read_text()) for n in names if file_of(n, args).exists()
    }
    if "separate" not in found:
        raise SystemExit("the scale is that of the control `separate`: run it first")
    alone, tuned = found["separate"], found.get("fine-tune")
    reference = np.array(alone["final"]).mean(0)
    base = tuned and normalize(np.array(tuned["final"]), alone["random"], reference).mean(1)
    table = Table(title=f"{args.envs}: 1 is what a network of its own reaches, 0 a random policy")
    columns = ("setting", "average (95%)", "worst task", "forgetting", "backward transfer")
    for column in (*columns, "forward transfer", "p", "returns", "seconds"):
        table.add_column(column)
    for name, result in found.items():
        add_row(table, name, result, alone, base)
    Console(width=180).print(table)


def cost(args: argparse.Namespace) -> None:
    """Time and memory of methods beside none, each setting in a process of its own."""
    names = [name for name in args.variants if name.split(",")[0] in METHODS]
    settings = product(methods_cost.MEMBERS, args.ways)
    for members, way in () if args.table else settings:
        in_child(methods_cost.measure, args.envs, members, way, names)
    Console(width=140).print(methods_cost.table_of(args.envs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--envs", default="CartPole,Acrobot")
    parser.add_argument("--steps", type=int, default=50_000, help="of each task")
    parser.add_argument("--part", choices=("learning", "cost"), default="learning")
    ways = list(methods_cost.WAYS)
    parser.add_argument("--ways", nargs="+", choices=ways, default=ways, help="of the part cost")
    names = ["separate", "joint", *variants()]
    parser.add_argument("--variants", nargs="+", choices=names, default=names)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--logdir", default="runs/benchmarks")
    parser.add_argument("--table", action="store_true", help="train nothing")
    args = parser.parse_args()
    if args.part == "cost":
        cost(args)
        return
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in [] if args.table else args.variants:
        file_of(name, args).write_text(json.dumps(measure(name, args)))
    print_table(names, args)


if __name__ == "__main__":
    main()
