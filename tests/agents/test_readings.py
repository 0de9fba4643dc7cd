"""Numbers in one array are what they would be in a dict."""

import numpy as np
import pytest

from agents.readings import Readings

PLAIN = {"loss": np.array([1.0, 2.0]), "q": np.array([3.0, 4.0])}


@pytest.fixture
def readings():
    return Readings(tuple(PLAIN), np.stack(list(PLAIN.values())))


def test_numbers_are_found_by_name(readings):
    assert list(readings) == list(PLAIN)
    assert len(readings) == 2
    for name, numbers in PLAIN.items():
        assert readings[name].tolist() == numbers.tolist()
    assert repr(readings) == repr(PLAIN)


def test_a_name_that_is_not_there_is_missing_as_in_a_dict(readings):
    assert "weights" not in readings
    with pytest.raises(KeyError, match="weights"):
        readings["weights"]
