import numpy as np
import pytest

from buffers import Column
from buffers.coreset import Features, states

COLUMNS = {"state": Column((2,)), "action": Column((), np.int64), "q": Column((2, 2))}


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "state": (rng.normal(size=(n, 2)) * [1, 1000] + [5, -7]).astype(np.float32),
        "action": rng.integers(3, size=n),
        "q": rng.normal(size=(n, 2, 2)).astype(np.float32),
    }


def test_states_have_mean_0_and_deviation_1_over_all_that_was_observed():
    features, every = Features(COLUMNS, None), rows(100)
    for first, last in ((0, 1), (1, 40), (40, 40), (40, 100)):
        features.observe({name: v[first:last] for name, v in every.items()})
    points = features.of(every)[:, :2]
    assert np.allclose(points.mean(axis=0), 0, atol=1e-6)
    assert np.allclose(points.std(axis=0), 1)


def test_a_number_that_never_changes_counts_nothing():
    features, every = Features(COLUMNS, None), rows(10)
    every["state"][:, 0] = 3
    features.observe(every)
    assert np.array_equal(features.of(every)[:, 0], np.zeros(10))


def test_unlike_whole_number_actions_are_equally_far_apart():
    features, every = Features(COLUMNS, None), rows(4)
    every["state"][:] = 0
    every["action"][:] = [7, 0, 7, 2]
    features.observe(every)
    points = features.of(every)
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    assert np.allclose(apart[np.array([0, 0, 1]), np.array([1, 3, 3])], np.sqrt(2))
    assert apart[0, 2] == 0


@pytest.mark.parametrize("action", [Column((3,)), Column(), Column((2,), np.int64)])
def test_other_actions_are_numbers_normalised_like_the_state(action):
    features, every = Features(COLUMNS | {"action": action}, None), rows(50)
    every["action"] = (np.random.default_rng(1).normal(size=(50, *action.shape)) * 9).astype(
        action.dtype
    )
    features.observe(every)
    points = features.of(every)
    assert points.shape == (50, 2 + int(np.prod(action.shape)))
    assert np.allclose(points.std(axis=0), 1)


def test_a_column_or_a_functions_result_is_used_as_it_is():
    every = rows(5)
    assert np.array_equal(Features(COLUMNS, "q").of(every), every["q"].reshape(5, 4))
    double = Features(COLUMNS, lambda rows: 2 * rows["state"])
    assert np.array_equal(double.of(every), 2 * every["state"])


def test_a_column_that_is_not_there_or_not_finite_is_refused():
    with pytest.raises(ValueError, match="no column 'z'"):
        Features(COLUMNS, "z")
    every = rows(5)
    every["q"][3, 0, 1] = np.nan
    with pytest.raises(ValueError, match="column 'q': expected finite"):
        Features(COLUMNS, "q").check(every)
    Features(COLUMNS, None).check(every)


@pytest.mark.parametrize("result", [np.zeros(5), np.zeros((4, 2)), 3.0])
def test_a_function_that_gives_something_else_is_refused(result):
    with pytest.raises(ValueError, match=r"features: expected \[5, d\]"):
        Features(COLUMNS, lambda rows: result).of(rows(5))


def test_states_alone_are_normalised_over_the_rows_given_also_in_dicts():
    every = rows(50)
    points = states(every)
    assert np.allclose(points.mean(axis=0), 0)
    assert np.allclose(points.std(axis=0), 1)
    parts = {"state": {"a": every["state"][:, :1], "b": {"c": every["state"][:, 1]}}}
    assert np.array_equal(states(parts), points)
    assert np.array_equal(states({"state": np.ones((3, 2))}), np.zeros((3, 2)))
