"""Which environment a name means."""

import subprocess
import sys

import gymnasium as gym
import pytest

from envs import find_task


def test_a_bare_name_is_the_newest_version_counted_as_a_number():
    task = find_task("test/Versions")
    assert (task.name, task.env_id) == ("test/Versions", "test/Versions-v10")


def test_an_older_version_keeps_its_version_in_its_name():
    task = find_task("test/Versions-v3")
    assert (task.name, task.env_id) == ("test/Versions-v3", "test/Versions-v3")


def test_the_newest_version_written_out_is_the_same_task_as_the_bare_name():
    assert find_task("CartPole-v1") == find_task("CartPole")
    assert find_task("retain/Recall-v0") == find_task("retain/Recall")


def test_an_environment_registered_without_a_version_is_found():
    assert find_task("test/Unversioned").env_id == "test/Unversioned"


def test_a_task_says_where_its_registry_calls_it_solved():
    assert find_task("CartPole").solved_at == gym.spec("CartPole-v1").reward_threshold == 475
    assert find_task("test/Versions").solved_at is None


def test_a_module_before_a_colon_is_imported_and_is_no_part_of_the_task():
    script = (
        "import gymnasium, envs.task\n"
        "assert 'retain/Recall-v0' not in gymnasium.registry\n"
        "task = envs.task.find_task('envs.toy:retain/Recall')\n"
        "assert task == envs.task.Task('retain/Recall', 'retain/Recall-v0')\n"
        "assert task.solved_at is None\n"
        "task.make_env().reset()\n"
    )
    # envs/__init__ registers the toys; a stand-in for it lets their module be a foreign one.
    stand_in = (
        "import sys, types; package = types.ModuleType('envs')\n"
        "package.__path__ = ['envs']; sys.modules['envs'] = package\n"
    )
    subprocess.run([sys.executable, "-c", stand_in + script], check=True)


@pytest.mark.parametrize("text", ["no_such_module:Thing-v0", "CartPole:", "CartPole:30k"])
def test_a_module_that_does_not_exist_is_named_with_both_cures(text):
    module = text.split(":")[0]
    with pytest.raises(ValueError, match=f"no module '{module}'.*install.*whole number"):
        find_task(text)


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("CartPol", "did you mean CartPole"),
        ("cartpole", "did you mean CartPole-v0, CartPole-v1"),
        ("CartPole-v9", "did you mean CartPole-v0, CartPole-v1"),
        ("retain/Recal", "did you mean retain/Recall"),
        ("test/Versions-v2", "did you mean"),
        ("xyzzy", "see gymnasium.pprint_registry"),
        ("two/slashes/Env", "see gymnasium.pprint_registry"),
        ("", "see gymnasium.pprint_registry"),
    ],
)
def test_an_unknown_environment_is_refused_with_the_nearest_name(text, suggestion):
    with pytest.raises(ValueError, match=f"unknown environment '{text}'; {suggestion}") as error:
        find_task(text)
    assert "\n" not in str(error.value)
