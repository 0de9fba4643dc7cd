"""Minari data sets into memories, and what a memory holds into data sets. Neither loses anything.

add_dataset(memory, minari.load_dataset("cartpole/expert-v0"))
save_rows("cartpole/memory-v0", memory.read(memory.rows()), env="CartPole-v1")

In a data set every column of a row that Minari has no place for, such as `task`, is in the
infos under its own name, and comes back from there.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from buffers.adapters.missing import how_to_install
from buffers.checks import check_names
from buffers.columns import REQUIRED, Memory
from buffers.nested import flat, nested, root

if TYPE_CHECKING:
    from minari import MinariDataset
    from minari.dataset.episode_data import EpisodeData

Rows = dict[str, np.ndarray]


def add_dataset(memory: Memory, dataset: "MinariDataset", task: int | None = None) -> int:
    """Offer every step of a data set to a memory, an episode at a time.

    Columns that the memory has beside the standard ones are taken from infos of the same name, and
    `episode`, where infos have none, is the data set's number of the episode, and `last` is true of
    its last step. Minari records infos at the reset as well: those belong to no row.

    Args:
        memory: any memory; its `state` and `action` are such as the data set's spaces, `state` a
            dict of columns where observations are dicts.
        dataset: opened with `minari.load_dataset`.
        task: of all rows; by default what infos say, else 0.

    Returns:
        The number of rows offered.

    Raises:
        ValueError: observations or actions are no arrays, or the memory refuses the rows of
            an episode. Those of the episodes before it are in the memory then.
    """
    before = memory.seen
    for episode in dataset.iterate_episodes():
        rows = _rows_of(episode, memory)
        memory.add(rows if task is None else rows | {"task": np.full(len(episode), task)})
    return memory.seen - before


def save_rows(dataset_id: str, rows: Mapping[str, Any], **metadata: Any) -> "MinariDataset":
    """Make a data set of loose rows, each an episode of one step.

    Minari's files were not made for that: an episode takes about 20 kB and 2 ms, however short.
    Where rows make up episodes, `save_episodes` is a hundred times as small and as fast.

    Minari's readers expect an episode to end: a row that neither terminated nor was truncated is
    truncated in the data set, and its own `truncated` is in the infos.

    Args:
        dataset_id: Minari's name of the new data set, such as "cartpole/memory-v0".
        rows: arrays [n, ...] by column name, or dicts of such, as `memory.read(memory.rows())`.
        metadata: `env`, or `observation_space` and `action_space`; and whatever else
            `minari.create_dataset_from_buffers` takes.

    Raises:
        ImportError: Minari is not installed.
        ValueError: a column is missing, or Minari refuses the name or the metadata.
    """
    whole = _checked(rows, REQUIRED)
    one_by_one = [{k: v[i : i + 1] for k, v in whole.items()} for i in range(len(whole["done"]))]
    return _save(dataset_id, one_by_one, metadata)


def save_episodes(dataset_id: str, rows: Mapping[str, Any], **metadata: Any) -> "MinariDataset":
    """Make a data set of whole episodes; arguments and errors as of `save_rows`.

    Args:
        dataset_id: Minari's name of the new data set.
        rows: arrays [n, ...] by column name, with a column `episode`. An episode is what rows of
            one number make up, in their order, until one is done or truncated; after that the
            number may be used again. Each row begins in the state in which the one before ended.
        metadata: as of `save_rows`.

    Raises:
        ValueError: also where rows of an episode are missing between others.
    """
    whole = _checked(rows, (*REQUIRED, "episode"))
    return _save(dataset_id, _split(whole), metadata)


def _checked(rows: Mapping[str, Any], required: tuple[str, ...]) -> Rows:
    """The rows, columns in dicts named by their path."""
    check_names(rows, required, rows)
    arrays = {name: np.asarray(values) for name, values in flat(rows).items()}
    n = len(arrays["done"])
    for name, values in arrays.items():
        if len(values) != n or not n:
            expected = f"{n or 'some'} rows"
            raise ValueError(f"column {name!r}: expected {expected}, given {len(values)}")
    return {"truncated": np.zeros(n, bool)} | arrays


def _save(dataset_id: str, episodes: Sequence[Rows], metadata: dict[str, Any]) -> "MinariDataset":
    try:
        import minari
        from minari.data_collector import EpisodeBuffer
    except ImportError as error:
        raise how_to_install(error, "retain-rl[minari]") from None
    made = [EpisodeBuffer(**_episode_of(rows)) for rows in episodes]
    # By default Minari stores images as JPEG, which changes them.
    return minari.create_dataset_from_buffers(
        dataset_id, buffer=made, jpeg_encoding=False, **metadata
    )


def _split(rows: Rows) -> list[Rows]:
    """The rows of each episode, in the order in which the episodes begin."""
    order = np.argsort(rows["episode"], kind="stable")
    number = rows["episode"][order]
    last = rows["done"] | rows["truncated"] | rows.get("last", np.False_)
    ends = last[order][:-1] | (number[:-1] != number[1:])
    parts = sorted(np.split(order, np.flatnonzero(ends) + 1), key=lambda part: part[0])
    return [{name: values[part] for name, values in rows.items()} for part in parts]


def _episode_of(rows: Rows) -> dict[str, Any]:
    """The arguments of Minari's EpisodeBuffer."""
    states = [name for name in rows if root(name) == "state"]
    if not all(np.array_equal(rows[f"next_{k}"][:-1], rows[k][1:]) for k in states):
        number = rows["episode"][0]
        raise ValueError(f"episode {number}: a row does not begin where the one before it ended")
    seen = {name: np.concatenate([rows[name], rows[f"next_{name}"][-1:]]) for name in states}
    ended = rows["truncated"].copy()
    ended[-1] |= not rows["done"][-1]
    others = [name for name in rows if root(name) not in REQUIRED]
    return {
        "observations": nested(seen)["state"],
        "actions": rows["action"],
        "rewards": rows["reward"],
        "terminations": rows["done"],
        "truncations": ended,
        # One more than there are steps: the first belongs to the reset.
        "infos": {name: np.concatenate([rows[name][:1], rows[name]]) for name in others},
    }


def _rows_of(episode: "EpisodeData", memory: Memory) -> Rows:
    rows = {
        "state": _cut("observations", episode.observations, slice(-1)),
        "action": _cut("actions", episode.actions, slice(None)),
        "reward": episode.rewards,
        "next_state": _cut("observations", episode.observations, slice(1, None)),
        "done": episode.terminations,
        "truncated": episode.truncations,
    }
    if "episode" in memory.columns:
        rows["episode"] = np.full(len(episode), episode.id)
    if "last" in memory.columns:
        rows["last"] = np.arange(len(episode)) == len(episode) - 1
    infos = episode.infos or {}
    others = [name for name in memory.columns if name not in REQUIRED and name in infos]
    return rows | {name: np.asarray(infos[name])[-len(episode) :] for name in others}


def _cut(name: str, values: Any, which: slice) -> Any:
    """Some steps of an array, or of each in a dict."""
    if isinstance(values, Mapping):
        return {key: _cut(f"{name} {key!r}", part, which) for key, part in values.items()}
    if not isinstance(values, np.ndarray):
        raise ValueError(f"{name}: expected an array, given a {type(values).__name__}")
    return values[which]
