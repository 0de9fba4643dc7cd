"""What the methods did in a stage, and words for those that did nothing."""

from collections.abc import Iterator

from agents import METHODS, Method
from agents.methods.parsing import options_of
from experiments.history import FIGURES
from experiments.run import Run

NEGLIGIBLE = 1e-4  # of the TD loss, of the steps, or of the way that Adam goes


def idle_methods(run: Run) -> Iterator[str]:
    """Words for every method that did next to nothing in this stage; none for the first stage.

    Before a task has ended there is nothing to keep, so that most methods cannot but be idle.
    """
    if run.clock.stage == 0:
        return
    for method in run.agent.methods:
        figures = figures_of(run, method)
        if figures and max(figures.values()) <= NEGLIGIBLE:
            kind, value = next(iter(figures.items()))
            yield (
                f"{method.name} did nothing while {run.task_name} was learned: "
                f"{FIGURES[kind].format(value)}; {_cure(method, value)}"
            )


def figures_of(run: Run, method: Method) -> dict[str, float]:
    """What the method told of itself, kind -> mean over the stage, in the order of FIGURES."""
    run.history.settle()
    means = {name: total / count for name, (total, count) in run.history.acted.items()}
    td_loss = means.get("td_loss", 0.0)
    found = {}
    for kind in FIGURES:
        if (value := means.get(f"{method.name}_{kind}")) is not None:
            of_td_loss = kind in ("loss", "penalty") and value != 0
            found[kind] = abs(value) / max(td_loss, 1e-30) if of_td_loss else value
    return found


def _cure(method: Method, value: float) -> str:
    options = options_of(METHODS[method.name])
    cures = ["change its options"] if options else []
    if "strength" in options:
        cures = ["raise its strength"]
    if method.needs_old and value == 0:
        cures.append("give it rows of earlier tasks (--buffer hybrid, --memory-share)")
    return ", ".join([*cures, "or leave it out"]) if cures else "leave it out"
