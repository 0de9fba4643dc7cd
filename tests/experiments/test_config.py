"""The configuration: every field says what it is, and refuses in one line what cannot work."""

import dataclasses
import json

import pytest

from buffers import BUFFERS
from experiments import Config
from experiments.options import RunOptions


def test_every_field_says_what_it_means(meanings):
    assert set(meanings(Config)) == {field.name for field in dataclasses.fields(Config)}


def test_a_configuration_survives_json(config):
    original = config(name="mine", hidden=(8, 4), resume=None)
    saved = json.loads(json.dumps(original.to_json()))
    assert Config.from_json(saved) == original


def test_a_field_of_another_version_is_named(config):
    with pytest.raises(ValueError, match="unknown field 'memory_size'"):
        Config.from_json(config().to_json() | {"memory_size": 3})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", 0, "steps must be at least 1, got 0"),
        ("steps", -5, "steps must be at least 1, got -5"),
        ("seeds", 0, "seeds must be at least 1"),
        ("processes", 0, "processes must be at least 1, or auto, got 0"),
        ("processes", 2, "processes must be at most one for each of 1 members, or auto, got 2"),
        ("processes", 2_000, "processes must be at most 1024, or auto, got 2000"),
        ("num_envs", 0, "num_envs must be at least 1"),
        ("batch_size", 0, "batch_size must be at least 1"),
        ("train_interval", 0, "train_interval must be at least 1"),
        ("gradient_steps", 0, "gradient_steps must be at least 1"),
        ("rows_per_task", 0, "rows_per_task must be at least 1"),
        ("eval_episodes", 0, "eval_episodes must be at least 1"),
        ("eval_interval_episodes", 0, "eval_interval_episodes must be at least 1"),
        ("log_interval", 0, "log_interval must be at least 1"),
        ("threads", 0, "threads must be at least 1"),
        ("learning_starts", -1, "learning_starts must not be negative"),
        ("eval_interval", -1, "eval_interval must not be negative"),
        ("checkpoint_interval", -1, "checkpoint_interval must not be negative"),
        ("seed", -1, "seed must not be negative"),
        ("memory_share", 1.1, "memory_share must lie between 0 and 1, got 1.1"),
        ("epsilon_end", -0.1, "epsilon_end must lie between 0 and 1"),
        ("epsilon_fraction", float("nan"), "epsilon_fraction must lie between 0 and 1"),
        ("discount", 1.5, "discount must lie between 0 and 1"),
        ("learning_rate", 0.0, "learning_rate must be positive"),
        ("hidden", (), "hidden needs at least one positive width"),
        ("hidden", (8, 10**20), "hidden must be at most 2,147,483,647, got 1000"),
        ("learning_rate", 1e39, "learning_rate must be at most 1e+38, got 1e+39"),
        ("target_update_interval", 2**31, "target_update_interval must be at most 2,147,483,647"),
        ("exploratory_steps", 10**20, "exploratory_steps must be at most 2,147,483,647, got 100"),
        ("capacity", 15, "capacity 15 cannot hold one batch of 16"),
        ("agent", "dqm", "unknown agent 'dqm'; did you mean dqn"),
        ("buffer", "hibrid", "unknown buffer 'hibrid'; did you mean hybrid"),
        ("buffer", "xyz", "unknown buffer 'xyz'; known are fifo, hybrid"),
        ("recent_kind", "prioritised", "unknown recent_kind 'prioritised'; did you mean prioriti"),
        ("recent_kind", "reservoir", "unknown recent_kind 'reservoir'; known are fifo, prioriti"),
        ("priority_alpha", -0.1, "priority_alpha must not be negative, got -0.1"),
        ("priority_alpha", float("nan"), "priority_alpha must not be negative, got nan"),
        ("priority_beta", 1.1, "priority_beta must lie between 0 and 1, got 1.1"),
        ("num_buffers", 0, "num_buffers must be at least 1, got 0"),
        ("coreset_features", "pixels", "unknown coreset_features 'pixels'; known are state, "),
        ("precision", "float16", "unknown precision 'float16'; known are float32, bfloat16"),
        ("network", "mpl", "unknown network 'mpl'; did you mean mlp"),
        ("methods", "destill", "unknown method 'destill'; did you mean distill"),
        ("methods", "distill,distill", "a method is named twice"),
        ("methods", "ewc:gamma=1.5", "ewc:gamma must lie between 0 and 1, got 1.5"),
        ("methods", "si:damping=0", "si:damping must be positive, got 0"),
        ("methods", "ogd:rows=0", "ogd:rows must be at least 1, got 0"),
        ("threads", 1_000_000, "threads must be at most 1024, or auto, got 1000000"),
        ("task_identity", "hidden", "task_identity=hidden needs head=single"),
    ],
)
def test_a_value_that_cannot_work_is_refused_in_one_line(config, field, value, message):
    with pytest.raises(ValueError, match=r"^.*\Z") as refused:
        config(**{field: value})
    assert message in str(refused.value)


def test_a_checkpoint_of_a_version_without_a_field_is_one_of_its_default(config):
    known = config().deciding()
    older = {name: value for name, value in known.items() if name != "precision"}
    config().check_deciding(older)
    config(precision="float32").check_deciding(older)
    with pytest.raises(ValueError, match="its precision is float32, here it is bfloat16"):
        config(precision="bfloat16").check_deciding(older)
    with pytest.raises(ValueError, match="its memory_size is 3, here it is None"):
        config().check_deciding(older | {"memory_size": 3})


def test_a_method_that_must_be_told_the_task_is_refused_where_it_is_hidden(config):
    with pytest.raises(ValueError, match=r"^lwf must be told the task: not with task_identity=h"):
        config(methods="lwf,ewc", task_identity="hidden", head="single")
    config(methods="ewc", task_identity="hidden", head="single")


HYBRID = "buffer=hybrid, memory=reservoir, recent_kind=fifo"
PRIORITIZED = "prioritized, prioritized_reservoir, rank"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"buffer": "fifo", "memory": "k_center"}, "memory=k_center does nothing with buffer=fifo"),
        ({"buffer": "balanced", "recent_kind": "rank"}, "buffer=balanced: it is for hybrid"),
        ({"priority_alpha": 0.5}, f"priority_alpha=0.5 does nothing with {HYBRID}: it is for "),
        ({"priority_alpha": 0.5}, f"it is for {PRIORITIZED}"),
        ({"buffer": "fifo", "priority_beta": 1.0}, "priority_beta=1.0 does nothing with"),
        ({"buffer": "rank", "num_buffers": 5}, "with buffer=rank: it is for multi_timescale"),
        ({"coreset_features": "state"}, "it is for coreset, k_center, herding, coverage, gss, fac"),
    ],
)
def test_a_choice_that_would_do_nothing_is_refused_in_one_line(config, changes, message):
    with pytest.raises(ValueError, match=r"^.*\Z") as refused:
        config(**changes)
    assert message in str(refused.value)


RINGS = {"fifo", "prioritized", "rank"}
CORESETS = {"coreset", "k_center", "herding", "coverage", "gss", "facility"}
BY_PRIORITY = {"prioritized", "prioritized_reservoir", "rank"}
USERS = {  # flag -> a value that is no default, and the buffers that have a use for it
    "memory": ("k_center", {"hybrid"}),
    "recent_kind": ("rank", {"hybrid"}),
    "rows_per_task": (7, {"hybrid"}),
    "memory_share": (0.25, {"hybrid"}),
    "draw_current": (True, {"hybrid"}),
    "clear_at_switch": (False, {"hybrid", *RINGS}),
    "priority_alpha": (0.5, BY_PRIORITY),
    "priority_beta": (0.5, BY_PRIORITY),
    "num_buffers": (5, {"multi_timescale"}),
    "coreset_features": ("state", CORESETS),
}


@pytest.mark.parametrize("buffer", BUFFERS)
@pytest.mark.parametrize("flag", USERS)
def test_a_flag_of_memories_is_taken_by_those_that_use_it_and_refused_by_all_others(
    config, flag, buffer
):
    value, users = USERS[flag]
    if buffer in users:
        config(buffer=buffer, **{flag: value})
    else:
        shown = "" if buffer != "hybrid" else ", memory=reservoir, recent_kind=fifo"
        with pytest.raises(ValueError, match=r"^.*\Z") as refused:
            config(buffer=buffer, **{flag: value})
        start = f"{flag}={value} does nothing with buffer={buffer}{shown}: it is for "
        assert str(refused.value).startswith(start)
        assert set(str(refused.value).removeprefix(start).split(", ")) == users


def test_no_flag_of_memories_was_forgotten():
    """From `buffer` on, options of the memory come first."""
    names = [field.name for field in dataclasses.fields(RunOptions)]
    of_memory = names[names.index("buffer") : names.index("batch_size")]
    assert set(of_memory) == {"buffer", "capacity", *USERS}


@pytest.mark.parametrize(
    "changes",
    [
        {"buffer": "rank", "priority_alpha": 0.5, "priority_beta": 1.0},
        {"recent_kind": "prioritized", "priority_alpha": 0.0},
        {"memory": "prioritized_reservoir", "priority_beta": 0.0},
        {"memory": "multi_timescale", "num_buffers": 1},
        {"buffer": "gss", "coreset_features": "penultimate"},
        {"buffer": "fifo", "memory": "reservoir"},  # as good as not given
        {"resume": "some run", "priority_alpha": 0.5},  # compared with that run's own
    ],
)
def test_a_choice_that_some_part_makes_use_of_is_accepted(config, changes):
    config(**changes)


def test_the_limits_themselves_are_allowed(config):
    config(memory_share=0.0, epsilon_start=1.0, eval_interval=0, checkpoint_interval=0, seed=0)
    config(capacity=16, steps=1, learning_starts=0, epsilon_fraction=0.0, methods="none")
