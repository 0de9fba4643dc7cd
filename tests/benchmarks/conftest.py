"""The benchmarks' own modules: they are programs, in no package."""

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """As for a program in the folder."""
    monkeypatch.syspath_prepend(BENCHMARKS)
