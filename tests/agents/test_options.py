"""Options that make no sense are refused in one line that names them."""

import pytest

NAN = float("nan")
BAD = [
    *[("atoms", value) for value in (0, -1)],
    *[("n_step", value) for value in (0, -3)],
    *[("learning_rate", value) for value in (0.0, -1e-3, NAN)],
    *[("adam_epsilon", value) for value in (0.0, -1.0, NAN)],
    *[("target_update_interval", value) for value in (0, -5)],
    *[("exploratory_steps", value) for value in (0, -5)],
    *[("target_rate", value) for value in (0.0, -0.1, 1.1, NAN)],
    *[("value_limit", value) for value in (0.0, -5.0, NAN)],
    *[("learning_rate_end", value) for value in (-1e-9, NAN)],
    *[("gradient_clip", value) for value in (-1.0, NAN)],
    *[("huber_delta", value) for value in (-1.0, NAN)],
    *[("discount", value) for value in (-0.1, 1.01, NAN)],
    *[(name, float("inf")) for name in ("learning_rate", "learning_rate_end", "adam_epsilon")],
    *[(name, float("inf")) for name in ("value_limit", "gradient_clip", "huber_delta")],
    *[("hidden", value) for value in ((), (64, 0), (-1,))],
    *[("head", value) for value in ("multi", "")],
    ("task_identity", "unknown"),
    ("distribution", "quantile"),
    ("precision", "float16"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_refused_by_name(name, value, options):
    with pytest.raises(ValueError, match=name) as error:
        options(**{name: value})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("discount", 0.0),
        ("discount", 1.0),
        ("target_rate", 1.0),
        ("huber_delta", 0.0),
        ("gradient_clip", 0.0),
        ("learning_rate_end", 0.0),
        ("exploratory_steps", 1),
        ("hidden", (1,)),
    ],
)
def test_a_value_at_the_edge_is_accepted(name, value, options):
    assert getattr(options(**{name: value}), name) == value


@pytest.mark.parametrize("head", ["per_task", "conditioned"])
def test_a_hidden_task_cannot_choose_a_head(head, options):
    with pytest.raises(ValueError, match=f"hidden needs head=single, got head={head}"):
        options(task_identity="hidden", head=head)
    assert options(task_identity="hidden", head="single").task_identity == "hidden"


def test_a_histogram_of_one_atom_is_refused(options):
    with pytest.raises(ValueError, match="at least 2 atoms, got 1"):
        options(distribution="categories", atoms=1)
    assert options(distribution="quantiles", atoms=1).atoms == 1


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ("distil", "unknown method 'distil'; did you mean distill"),
        ("non", "unknown method 'non'; did you mean none"),
        ("xyzzy", "unknown method 'xyzzy'; known are distill"),
        ("none,distill", "none stands alone"),
        ("distill, distill", "named twice"),
    ],
)
def test_methods_that_cannot_be_are_refused(methods, message, agent):
    with pytest.raises(ValueError, match=message) as error:
        agent(methods=methods)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("methods", ["none", "", " none "])
def test_none_and_nothing_are_no_methods(methods, agent):
    assert agent(methods=methods).methods == ()
