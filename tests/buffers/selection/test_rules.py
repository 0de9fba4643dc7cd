"""What holds for every selection rule."""

from functools import partial

import numpy as np
import pytest

from buffers.selection import (
    SELECTIONS,
    facility_location,
    gss_greedy,
    herding,
    k_center,
    max_coverage,
)


def choose(rule, features, k, **given):
    needs = {
        "gss": {
            "error": np.resize([1.0, -2.0, 0.5], len(features)),
            "rng": np.random.default_rng(0),
        },
        "coverage": {"rng": np.random.default_rng(0)},
    }
    return SELECTIONS[rule](features, k, **needs.get(rule, {}), **given)


@pytest.fixture(params=SELECTIONS)
def rule(request):
    return partial(choose, request.param)


@pytest.fixture
def points():
    return np.random.default_rng(1).normal(size=(40, 3))


@pytest.mark.parametrize("k", [0, 1, 7, 39, 40])
def test_k_rows_are_chosen_each_once(rule, points, k):
    before, gain = points.copy(), np.full(k, np.nan)
    index = rule(points, k, gain=gain)
    assert index.dtype == np.int64
    assert index.shape == (k,)
    assert len(set(index.tolist())) == k
    assert set(index.tolist()) <= set(range(40))
    assert np.isfinite(gain).all()
    assert np.array_equal(points, before)


def test_the_gain_is_of_no_consequence(rule, points):
    assert np.array_equal(rule(points, 20, gain=np.empty(20)), rule(points, 20))


def test_of_no_rows_none_are_chosen(rule):
    assert rule(np.empty((0, 3)), 0).shape == (0,)


def test_of_rows_all_alike_any_are_chosen_each_once(rule):
    assert len(set(rule(np.full((9, 2), 3.0), 5).tolist())) == 5
    assert len(set(rule(np.empty((9, 0)), 5).tolist())) == 5


@pytest.mark.parametrize("k", [-1, 41])
def test_a_k_out_of_range_is_refused(rule, points, k):
    with pytest.raises(ValueError, match=f"cannot choose {k} of 40 rows"):
        rule(points, k)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_features_that_float32_cannot_compare_are_refused(rule, points, value):
    points[3, 1] = value
    with pytest.raises(ValueError, match="expected finite float32"):
        rule(points, 5)


def test_features_of_another_shape_are_refused(rule):
    with pytest.raises(ValueError, match=r"expected \[n, d\], given \[4\]"):
        rule(np.arange(4.0), 2)


@pytest.mark.parametrize("rule", [herding, facility_location])
@pytest.mark.parametrize("weight", [0, [1, 1, -1], [1, np.inf, 1], [1, np.nan, 1]])
def test_weights_that_mean_nothing_are_refused(rule, weight):
    with pytest.raises(ValueError, match="weights must be finite, at least 0 and not all 0"):
        rule(np.eye(3), 2, weight=weight)


@pytest.mark.parametrize("rule", ["k_center", "herding", "facility"])
def test_a_smaller_choice_is_the_beginning_of_a_greater_one(rule, points):
    assert choose(rule, points, 30)[:12].tolist() == choose(rule, points, 12).tolist()


@pytest.mark.parametrize("rule", ["k_center", "herding", "coverage", "facility"])
def test_only_distances_matter(rule, points):
    # A turn and powers of two: exact in float32 up to the last bits.
    moved = 4 * points[:, [2, 0, 1]] * [1, -1, 1] + 64
    assert choose(rule, moved, 12).tolist() == choose(rule, points, 12).tolist()


@pytest.mark.parametrize("rule", [herding, facility_location])
def test_a_weight_counts_like_copies_of_the_row(rule, points):
    weight = np.random.default_rng(2).integers(1, 5, size=40)
    copies = np.repeat(np.arange(40), weight)
    chosen = rule(points[copies], 1)
    assert copies[chosen].tolist() == rule(points, 1, weight=weight).tolist()
    assert rule(points, 9, weight=weight).tolist() == rule(points, 9, weight=3 * weight).tolist()
    assert rule(points, 9, weight=weight).tolist() != rule(points, 9).tolist()


def test_every_rule_has_a_name():
    rules = (k_center, herding, max_coverage, gss_greedy, facility_location)
    assert set(SELECTIONS.values()) == set(rules)
