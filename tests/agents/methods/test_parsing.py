"""The text of `--methods`: what it means, and what is refused in one line."""

from typing import Literal

import pytest

from agents.methods.parsing import parse_methods


def pull(
    model,
    *,
    strength: float = 1.0,
    mode: Literal["online", "per_task"] = "online",
    rows: int = 5,
    soft: bool = False,
):
    """A method with an option of every kind."""


def plain(model):
    """A method without options."""


REGISTRY = {"plain": plain, "pull": pull, "push": plain}
CONFLICTS = {frozenset({"push", "plain"}): "both do the same"}


def parse(text: str):
    return parse_methods(text, REGISTRY, CONFLICTS)


def test_options_belong_to_the_method_before_them():
    found = parse("pull:strength=5e3,mode=per_task, rows=7 ,soft=true,plain")
    options = {"strength": 5e3, "mode": "per_task", "rows": 7, "soft": True}
    assert found == {"plain": {}, "pull": options}


def test_the_registry_gives_the_order():
    assert list(parse("pull,plain")) == list(parse("plain,pull")) == ["plain", "pull"]


@pytest.mark.parametrize("text", ["", "none", " none ", ","])
def test_none_and_nothing_are_no_methods(text):
    assert parse(text) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pul", "unknown method 'pul'; did you mean pull"),
        ("PULL", "unknown method 'PULL'; did you mean pull"),
        ("xyzzy", "unknown method 'xyzzy'; known are plain, pull, push, none"),
        ("none,pull", "none stands alone"),
        ("none:strength=1", "none stands alone"),
        ("pull,pull", "named twice"),
        ("pull:strength=1,pull:strength=2", "named twice"),
        ("push,plain", "plain and push cannot work together: both do the same"),
        ("pull:strenght=1", "unknown option of pull 'strenght'; did you mean strength"),
        ("plain:strength=1", "plain has no options, got strength"),
        ("pull:strength=1,strength=2", "strength is given twice"),
        ("pull:strength=-1", "pull:strength must be finite and not negative, got -1"),
        ("pull:strength=nan", "finite and not negative, got nan"),
        ("pull:strength=inf", "finite and not negative, got inf"),
        ("pull:strength=much", "pull:strength must be a number, got 'much'"),
        ("pull:rows=1.5", "pull:rows must be a whole number, got '1.5'"),
        ("pull:soft=maybe", "pull:soft must be true or false, got 'maybe'"),
        ("pull:mode=off", "pull:mode must be one of online, per_task, got 'off'"),
        ("pull:strength=1e39", r"pull:strength must be at most 1e\+38, got 1e39"),
        ("pull:rows=1" + 400 * "0", "pull:rows must be at most 2,147,483,647, got 1000"),
        ("pull:rows=2147483648", "pull:rows must be at most 2,147,483,647, got 2147483648"),
        ("pull:5", "'pull:5' is no option: write pull:option=value"),
        ("pull:", "'pull:' is no option: write pull:option=value"),
        ("pull:strength", "'pull:strength' is no option"),
        ("pull:strength=", "'pull:strength=' is no option"),
        ("pull:=5", "'pull:=5' is no option"),
        ("pull:rows=1, strength=", "'pull:strength=' is no option"),
        ("strength=5", "'strength=5' belongs to no method: write method:option=value"),
        (":strength=5", "'strength=5' belongs to no method"),
        (":", "'' belongs to no method"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(text, message):
    with pytest.raises(ValueError, match=message) as error:
        parse(text)
    assert "\n" not in str(error.value)
