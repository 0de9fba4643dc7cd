"""Runs on disk: where a new one goes, and how an old one is found and taken up again."""

import dataclasses
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from buffers import BUFFERS, ReplayBuffer
from experiments.auto import settled
from experiments.checkpoint import load_newest, write_atomically
from experiments.config import FREE_ON_RESUME, Config
from experiments.parallel.joined import MEMBERS, Joined
from experiments.precision import slow_precision
from experiments.run import Run
from experiments.threads import fastest_threads

LOG = logging.getLogger("retain")
LONGEST_NAME = 100


def new_run(config: Config) -> Run:
    """A run at its beginning, in a folder of its own, with a checkpoint to go on from.

    Raises:
        ValueError: The configuration cannot work, or the folder exists; nothing was written.
    """
    if config.name is not None:
        _check_name(config)
    run = _run_of(settled(config))
    if run.fixed:
        settings = ", ".join(f"{name}={value}" for name, value in run.fixed.items())
        LOG.warning("%s cannot do otherwise than: %s", config.agent, settings)
    if run.config.threads == "auto":
        kind, size = run.config.precision, (run.config.seeds, run.config.batch_size)
        threads = fastest_threads(run.agent, run.memories.columns, *size, kind)
        run.config = dataclasses.replace(run.config, threads=threads)
    config = run.config
    for warning in idle_parts(run):
        LOG.warning(warning)
    if slow := slow_precision(config.precision, config.device):
        LOG.warning(slow)
    if config.vectorization == "envpool":
        LOG.warning("EnvPool cannot seed single episodes: no resuming within a stage")
    run.folder = _claim(config)
    write_atomically(run.folder / "config.json", json.dumps(config.to_json(), indent=1).encode())
    if isinstance(run, Joined):
        (run.folder / MEMBERS).mkdir()  # where each part saves its own
    else:
        run.save()
    return run


def resumed_run(config: Config) -> Run:
    """The run that `config.resume` names, as it was at its newest whole checkpoint.

    Raises:
        ValueError: No such run, flags that differ from its own, or no checkpoint of it is whole.
    """
    folder = find_run(config.resume or "", config.logdir)
    saved = load_config(folder)
    _check_flags(config, saved, folder)
    run = _run_of(saved, folder)
    if isinstance(run, Joined):
        _check_members(run)
        return run
    path, state, problems = load_newest(folder)
    for problem in problems:
        LOG.warning("%s; going on from %s", problem, path)
    try:
        run.load_state_dict(state)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is of another version: {error}") from None
    was, now = state["config"].get("device"), run.config.device
    if {was, now} == {"cpu", "cuda"}:
        LOG.warning(
            "%s was made on %s; the run goes on on %s, with other last bits", path, was, now
        )
    return run


def find_run(name: str, logdir: str) -> Path:
    """The folder of a run given as a folder, or as a name inside `logdir`.

    Raises:
        ValueError: There is no such run.
    """
    for folder in (Path(name), Path(logdir) / name):
        if name and (folder / "config.json").is_file():
            return folder
    raise ValueError(f"no run at {name or 'no name'} or {Path(logdir) / name}")


def load_config(folder: Path) -> Config:
    """The configuration that a run was started with; on the CPU where PyTorch finds no GPU.

    Raises:
        ValueError: config.json is damaged, or of another version.
    """
    try:
        values = json.loads((folder / "config.json").read_text())
        if not torch.cuda.is_available() and isinstance(values, dict):
            values |= {"device": "cpu"}
        return Config.from_json(values)
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise ValueError(f"{folder / 'config.json'} cannot be read: {error}") from None


def idle_parts(run: Run) -> Iterator[str]:
    """Words for every part of the configuration that can do nothing in it."""
    config, kind = run.config, BUFFERS[run.config.buffer]
    for stage in dict.fromkeys(run.sequence.stages):
        if run.length(stage) < config.learning_starts:
            yield (
                f"{run.sequence.names[stage.task]} is not learned: its {stage.steps:,} steps end "
                f"before learning starts, at {config.learning_starts:,}: give it more --steps, or "
                "fewer --learning-starts"
            )
    cleared = isinstance(kind, type) and issubclass(kind, ReplayBuffer) and config.clear_at_switch
    for method in run.agent.methods:
        if cleared and method.needs_old:
            yield (
                f"{method.name} does nothing with --buffer {config.buffer}, which keeps no rows of "
                "earlier tasks: use --buffer hybrid or --no-clear-at-switch, or leave it out"
            )


def _check_members(run: Joined) -> None:
    """Every folder of members must be of a part of the run."""
    folder = run.folder / MEMBERS
    if not folder.is_dir():
        raise ValueError(f"{folder} is gone: there is nothing to go on from")
    names = {str(part.name) for part in run.parts}
    found = {path.parent.name for path in folder.glob("*/config.json")}
    if strange := sorted(found - names):
        raise ValueError(
            f"{folder / strange[0]} is of another configuration: here members are in "
            f"{', '.join(sorted(names))}"
        )


def _run_of(config: Config, folder: Path = Path()) -> Run:
    return Run(config, folder) if config.processes == 1 else Joined(config, folder)


def _check_name(config: Config) -> None:
    folder = Path(config.logdir) / str(config.name)
    if folder.exists() and config.overwrite and not (folder / "config.json").is_file():
        raise ValueError(f"{folder} is no run, so it is not replaced: choose another --name")
    if folder.exists() and not config.overwrite:
        raise ValueError(
            f"{folder} exists: go on with --resume {folder}, replace it with --overwrite, "
            "or choose another --name"
        )


def _claim(config: Config) -> Path:
    """Makes the run's folder; of two runs started at once, only one can have it."""
    for name in _names(config):
        folder = Path(config.logdir) / name
        if config.name is not None and config.overwrite and folder.exists():
            shutil.rmtree(folder)
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
    raise ValueError(f"{Path(config.logdir) / str(config.name)} was just made by another run")


def _names(config: Config) -> Iterator[str]:
    """The name given, or one made from what is trained, numbered until it is free."""
    if config.name is not None:
        yield config.name
        return
    agent = () if config.agent == Config.agent else (config.agent,)
    parts = (config.envs, *agent, config.buffer, config.methods, f"seed{config.seed}")
    kept = ("".join(c if c.isalnum() or c in "._" else "-" for c in part) for part in parts)
    stem = "-".join(kept)[:LONGEST_NAME]
    yield stem
    yield from (f"{stem}-{number}" for number in range(2, 100_000))


def _check_flags(config: Config, saved: Config, folder: Path) -> None:
    """A flag must be what the run was started with; one at its default counts as not given."""
    if config.name is not None or config.overwrite:
        raise ValueError("--resume goes on with a run as it is: leave --name and --overwrite out")
    for field in dataclasses.fields(Config):
        asked, was = getattr(config, field.name), getattr(saved, field.name)
        if field.name not in FREE_ON_RESUME and asked not in (field.default, was, "auto"):
            raise ValueError(
                f"{folder} was started with {field.name}={was}, not {asked}: "
                "leave the flag out, or start a new run"
            )
