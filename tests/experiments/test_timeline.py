"""Stages and evaluations lie where they were, in environment steps of each member."""

import pytest

from experiments.timeline import evaluations, finished_stages


@pytest.fixture
def run(make_run):
    """Two of three stages are over: 12 steps each, as 4 environments step at a time."""
    made = make_run(envs="retain/Recall:10,retain/RecallShifted:12,retain/Recall:5", seeds=2)
    made.clock.stage, made.clock.before = 2, 24
    made.history.scores = [[[0, 0], [0, 0]], [[8, 1], [6, 1]], [[3, 9], [4, 9]]]
    made.history.curve = [(8, 0, [[1, 1], [1, 1]]), (20, 1, [[2, 2], [2, 2]])]
    return made


def test_a_stage_is_as_long_as_its_environments_step_together(run):
    assert finished_stages(run) == [(0, 12, 0), (12, 24, 1)]


def test_evaluations_within_stages_and_between_them_are_in_the_order_of_steps(run):
    steps, scores = evaluations(run)
    assert steps.tolist() == [0, 8, 12, 20, 24]
    assert scores[:, 0, 0].tolist() == [0, 1, 8, 2, 3]
