"""Values that change over time."""

import pytest

from agents.schedules import linear


@pytest.mark.parametrize(
    ("fraction", "value"), [(-1, 1.0), (0, 1.0), (0.25, 0.8), (0.5, 0.6), (1, 0.2), (7, 0.2)]
)
def test_a_linear_schedule_falls_from_its_begin_to_its_end_and_stays_there(fraction, value):
    assert linear(1.0, 0.2, fraction) == pytest.approx(value)


def test_a_linear_schedule_may_rise():
    assert linear(0.0, 4.0, 0.75) == 3.0
