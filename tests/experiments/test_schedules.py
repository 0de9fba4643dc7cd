"""Values that change over time."""

import pytest

from experiments import schedules
from experiments.clock import Clock
from experiments.schedules import linear


@pytest.mark.parametrize(
    ("fraction", "value"), [(-1, 1.0), (0, 1.0), (0.25, 0.8), (0.5, 0.6), (1, 0.2), (7, 0.2)]
)
def test_a_linear_schedule_falls_from_its_begin_to_its_end_and_stays_there(fraction, value):
    assert linear(1.0, 0.2, fraction) == pytest.approx(value)


def test_a_linear_schedule_may_rise():
    assert linear(0.0, 4.0, 0.75) == 3.0


@pytest.mark.parametrize(
    ("restart", "stage", "step", "epsilon"),
    [
        (True, 0, 0, 1.0),
        (True, 0, 36, 1.0),  # until learning starts
        (True, 0, 40, 0.9 - 0.8 * 40 / 200),
        (True, 0, 100, 0.5),
        (True, 0, 200, 0.1),
        (True, 0, 399, 0.1),
        (True, 1, 0, 1.0),
        (True, 1, 100, 0.5),
        (False, 0, 0, 1.0),
        (False, 0, 100, 0.9 - 0.8 * 100 / 400),
        (False, 0, 396, 0.9 - 0.8 * 396 / 400),
        (False, 1, 0, 0.1),
        (False, 1, 399, 0.1),
    ],
)
def test_exploration_falls_over_its_share_of_a_task_or_of_the_sequence(
    make_run, restart, stage, step, epsilon
):
    run = make_run(
        epsilon_start=0.9, epsilon_end=0.1, epsilon_fraction=0.5, restart_schedules=restart
    )
    run.clock = Clock(stage=stage, step=step, before=400 * stage)
    assert schedules.epsilon(run) == pytest.approx(epsilon)


def test_exploration_that_falls_over_nothing_is_at_its_end_when_learning_starts(make_run):
    run = make_run(epsilon_fraction=0.0, epsilon_end=0.1, learning_starts=40)
    for step, epsilon in ((36, 1.0), (40, 0.1)):
        run.clock.step = step
        assert schedules.epsilon(run) == pytest.approx(epsilon)
