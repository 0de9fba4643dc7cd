"""docs/methods.md says of every method's options and defaults what the code does."""

import re
from pathlib import Path

import pytest

from agents import METHODS
from agents.methods.parsing import options_of, parse_methods

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "methods.md").read_text()
TABLE = dict(re.findall(r"^\| `(\w+)` \| `(\w+=[^`]*)` \|$", TEXT, re.MULTILINE))
PARAGRAPHS = dict(re.findall(r"^\*\*(\w+)\*\*([^*].*?)(?=\n\n)", TEXT, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("name", METHODS)
def test_the_table_has_every_option_and_its_default(name):
    defaults = {key: option.default for key, option in options_of(METHODS[name]).items()}
    written = f"{name}:{TABLE[name].replace(', ', ',')}" if defaults else name
    assert parse_methods(written, METHODS, {}) == {name: defaults}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_described(name):
    assert re.search(rf"\*\*{name}\*\*", TEXT)


def test_the_readme_names_methods_that_there_are_and_how_many():
    readme = (ROOT / "README.md").read_text()
    number, named = re.search(r"\*\*(\d+) methods.*?\*\*: (.+?) and more", readme).groups()
    assert int(number) == len(METHODS.keys() - {"reset"})  # which is there to compare with
    plain = named.lower().replace("-", "").replace("++", "pp")
    assert set(plain.split(", ")) < METHODS.keys()


@pytest.mark.parametrize("name", PARAGRAPHS)
def test_a_number_that_is_given_for_an_option_is_its_default(name):
    options = options_of(METHODS[name])
    for quoted in re.findall(r"`((?:\w+=[\d.e-]+(?:, )?)+)`", PARAGRAPHS[name]):
        for each in quoted.split(", "):
            key, _, value = each.partition("=")
            assert float(value) == options[key].default, each
