"""A memory's flags: the classes it is made of, their arguments, and flags without effect."""

import dataclasses
import inspect
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from agents import Features
from buffers import (
    BUFFERS,
    MEMORIES,
    RECENT,
    CoresetBuffer,
    Memory,
    MultiTimescaleBuffer,
    Prioritized,
)
from buffers.coreset import states

if TYPE_CHECKING:
    from experiments.config import Config

Make = Callable[..., Memory]

# A field that tunes one kind of memory -> that class, and the argument's name there.
TUNES: dict[str, tuple[type, str]] = {
    "priority_alpha": (Prioritized, "alpha"),
    "priority_beta": (Prioritized, "beta"),
    "num_buffers": (MultiTimescaleBuffer, "num_buffers"),
    "coreset_features": (CoresetBuffer, "features"),
}
OF_PARTS = ("memory", "recent_kind")  # fields that say what a memory of several parts is made of
# Fields that some buffers take as an argument of their own -> its name there.
OWN = {
    "clear_at_switch": "clear_at_switch",
    "rows_per_task": "rows_per_task",
    "memory_share": "share",
    "draw_current": "draw_current",
}


def kinds_of(config: "Config") -> list[Make]:
    """The buffer of this configuration, and those that it is made of."""
    build = BUFFERS[config.buffer]
    parts = [MEMORIES[config.memory], RECENT[config.recent_kind]]
    return [build, *parts] if _has_parts(build) else [build]


def check_used(config: "Config") -> None:
    """Raises ValueError for an option, not at its default, without effect on this buffer."""
    kinds, default = kinds_of(config), {f.name: f.default for f in dataclasses.fields(config)}
    for name in (*OF_PARTS, *OWN, *TUNES):
        value = getattr(config, name)
        if value != default[name] and not any(_uses(name, kind) for kind in kinds):
            with_parts = OF_PARTS if len(kinds) > 1 else ()
            shown = ", ".join(f"{k}={getattr(config, k)}" for k in ("buffer", *with_parts))
            users = ", ".join(each for each, kind in BUFFERS.items() if _uses(name, kind))
            raise ValueError(f"{name}={value} does nothing with {shown}: it is for {users}")


def make_buffer(config: "Config", features: Callable[[], Features], **columns: Any) -> Memory:
    """The buffer of this configuration, given the options that it knows.

    Args:
        config: The configuration.
        features: Makes what a coreset may compare rows by: what a network's last layer sees.
        columns: Further arguments of the buffer.
    """
    tuning = {name: getattr(config, name) for name in TUNES}
    tuning["coreset_features"] = _source(config.coreset_features, features)
    build = BUFFERS[config.buffer]
    own = {OWN[name]: getattr(config, name) for name in OWN if _uses(name, build)}
    if _has_parts(build):
        own["kind"] = _tuned(MEMORIES[config.memory], tuning)
        own["recent_kind"] = _tuned(RECENT[config.recent_kind], tuning)
    return _tuned(build, tuning)(config.capacity, **columns, **own)


def _tuned(kind: Make, tuning: dict[str, Any]) -> Make:
    """A kind of buffer with those arguments that are chosen and its own."""
    chosen = [name for name in TUNES if tuning[name] is not None and _uses(name, kind)]
    return partial(kind, **{TUNES[name][1]: tuning[name] for name in chosen})


def _source(name: str, features: Callable[[], Features]) -> Callable[..., Any] | None:
    """What `CoresetBuffer` takes as `features`."""
    if name == "penultimate":
        seen = features()
        return lambda rows: seen(rows["state"], rows["task"])
    return states if name == "state" else None


def _uses(name: str, kind: Make) -> bool:
    """Whether a kind of buffer takes what this field says."""
    if name in OF_PARTS:
        return _has_parts(kind)
    if name in OWN:
        return OWN[name] in inspect.signature(kind).parameters
    return isinstance(kind, type) and issubclass(kind, TUNES[name][0])


def _has_parts(kind: Make) -> bool:
    return "kind" in inspect.signature(kind).parameters
