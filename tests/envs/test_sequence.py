"""What the text of `--envs` means."""

import pytest

from envs import SEQUENCES, SharedSpace, Stage, parse_sequence


@pytest.fixture(params=SEQUENCES)
def registered(request):
    return request.param


def test_tasks_come_in_the_order_written_with_the_steps_of_the_run():
    sequence = parse_sequence("Acrobot, CartPole", 700)
    assert sequence.names == ["Acrobot", "CartPole"]
    assert sequence.stages == (Stage(0, 700), Stage(1, 700))


def test_steps_after_a_colon_are_the_visits_own():
    sequence = parse_sequence("CartPole:30_000,Acrobot,retain/Recall-v0:5", 700)
    assert [stage.steps for stage in sequence.stages] == [30_000, 700, 5]
    assert sequence.names == ["CartPole", "Acrobot", "retain/Recall"]


def test_a_revisit_is_the_same_task_however_it_is_written():
    sequence = parse_sequence("CartPole:10,Acrobot,CartPole-v1:20,CartPole", 700)
    assert sequence.names == ["CartPole", "Acrobot"]
    assert sequence.stages == (Stage(0, 10), Stage(1, 700), Stage(0, 20), Stage(0, 700))
    assert [sequence.is_revisit(stage) for stage in range(4)] == [False, False, True, True]


def test_two_versions_of_an_environment_are_two_tasks():
    sequence = parse_sequence("CartPole,CartPole-v0", 1)
    assert sequence.names == ["CartPole", "CartPole-v0"]


def test_a_namespace_is_part_of_the_name():
    sequence = parse_sequence("retain/Recall,retain/RecallShifted", 1)
    assert sequence.names == ["retain/Recall", "retain/RecallShifted"]


def test_a_registered_sequence_has_tasks_of_different_names_in_one_space(registered):
    sequence = parse_sequence(registered, 700)
    assert len(set(sequence.names)) == len(sequence.names) >= 2
    assert all(stage.steps >= 1 for stage in sequence.stages)
    assert len(SharedSpace.of(sequence.tasks).valid) == len(sequence.tasks)


def test_a_sequences_name_stands_for_its_tasks_also_among_others():
    sequence = parse_sequence("MountainCar:5,classic,CartPole:9", 700)
    assert sequence.names == ["MountainCar", "CartPole", "Acrobot"]
    assert sequence.stages == (Stage(0, 5), Stage(1, 700), Stage(2, 700), Stage(1, 9))


@pytest.mark.parametrize("steps", [0, -5])
def test_steps_that_are_not_positive_are_refused_wherever_they_stand(steps):
    with pytest.raises(ValueError, match=f"CartPole: steps must be at least 1, got {steps}"):
        parse_sequence(f"CartPole:{steps}", 700)
    with pytest.raises(ValueError, match=f"CartPole: steps must be at least 1, got {steps}"):
        parse_sequence("CartPole", steps)


@pytest.mark.parametrize("text", ["", "CartPole,", ",CartPole", "CartPole, ,Acrobot"])
def test_an_empty_name_is_refused(text):
    with pytest.raises(ValueError, match="an empty name in the list of environments"):
        parse_sequence(text, 700)


def test_an_unknown_name_among_good_ones_is_refused():
    with pytest.raises(ValueError, match="unknown environment 'Acrobat'; did you mean Acrobot"):
        parse_sequence("CartPole,Acrobat:100", 700)
