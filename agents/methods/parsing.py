"""The text of `--methods`: names, and options after a colon."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin

from agents.options import check_size
from buffers.names import check_known

Options = dict[str, Any]


def parse_methods(
    text: str, registry: Mapping[str, Callable[..., Any]], conflicts: Mapping[frozenset[str], str]
) -> dict[str, Options]:
    """Name -> options of every method in a text, in the registry's order.

    Args:
        text: `ewc:strength=100,mode=online,distill`: a part with an equals sign belongs to the
            method before it.
        registry: Name -> function whose keyword-only parameters are the method's options.
        conflicts: Pairs of names -> why they cannot work together.

    Raises:
        ValueError: See `agents.methods.make_methods`.
    """
    given = _split(text)
    if "none" in given:
        if len(given) > 1 or given["none"]:
            raise ValueError(f"none stands alone, without other methods: {text}")
        return {}
    for name in given:
        check_known("method", name, [*registry, "none"])
    for pair, reason in conflicts.items():
        if pair <= given.keys():
            raise ValueError(f"{' and '.join(sorted(pair))} cannot work together: {reason}")
    ordered = (name for name in registry if name in given)
    return {name: _options(name, registry[name], given[name]) for name in ordered}


def _split(text: str) -> dict[str, dict[str, str]]:
    """Name -> {option: text}."""
    found: dict[str, dict[str, str]] = {}
    last = ""
    for part in filter(None, map(str.strip, text.split(","))):
        name, colon, first = (piece.strip() for piece in part.partition(":"))
        option = first if colon else part if "=" in part else ""
        if colon or not option:
            if name in found:
                raise ValueError(f"a method is named twice: {text}")
            last, found[name] = name, {}
        if option or colon:
            _note(found, last, option)
    return found


def _note(found: dict[str, dict[str, str]], name: str, option: str) -> None:
    key, _, value = (piece.strip() for piece in option.partition("="))
    if not name:
        raise ValueError(f"{option!r} belongs to no method: write method:option=value")
    if not key or not value:
        raise ValueError(f"'{name}:{option}' is no option: write {name}:option=value")
    if key in found[name]:
        raise ValueError(f"{name}: {key} is given twice")
    found[name][key] = value


def options_of(build: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Name -> keyword-only parameter of the function that builds a method."""
    parameters = inspect.signature(build, eval_str=True).parameters.values()
    return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}


def _options(name: str, build: Callable[..., Any], given: Mapping[str, str]) -> Options:
    known = options_of(build)
    if given and not known:
        raise ValueError(f"{name} has no options, got {', '.join(given)}")
    for key in given:
        check_known(f"option of {name}", key, known)
    return {key: _value(name, known[key], text) for key, text in given.items()}


def _value(name: str, parameter: inspect.Parameter, text: str) -> Any:
    """The text as the parameter's annotation wants it: a choice, a truth value or a number."""
    kind, where = parameter.annotation, f"{name}:{parameter.name}"
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise ValueError(f"{where} must be one of {', '.join(get_args(kind))}, got {text!r}")
        return text
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{where} must be true or false, got {text!r}")
        return text.lower() == "true"
    try:
        value = kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise ValueError(f"{where} must be {what}, got {text!r}") from None
    if not 0 <= value < math.inf:
        raise ValueError(f"{where} must be finite and not negative, got {text}")
    check_size(where, value, text)
    return value
