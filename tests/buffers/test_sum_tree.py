"""The sum tree against running sums made anew each time, in NumPy, in plain loops and compiled."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from buffers import compiled
from buffers.sum_tree import SumTree

WAYS = ["numpy", "loops", "numba"]


def make(way: str, slots: int) -> SumTree:
    if way == "numba":
        pytest.importorskip("numba")
    tree = SumTree(slots, fast=way == "numba")
    if way == "loops":
        tree._put, tree._find = compiled.put, compiled.find
    return tree


def whole(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def found(values: np.ndarray, where: np.ndarray) -> list[int]:
    """The slots at these places, the slow way."""
    ends, total = np.cumsum(values.astype(object)), sum(values.tolist())
    places = [min(int(w * total), total - 1) for w in where.tolist()]
    return [next(slot for slot, end in enumerate(ends) if end > place) for place in places]


@st.composite
def histories(draw):
    slots = draw(st.integers(1, 70))
    largest = SumTree(slots).largest
    value = st.sampled_from([0, 1, 2, largest]) | st.integers(0, largest)
    pair = st.tuples(st.integers(0, slots - 1), value)
    return slots, draw(st.lists(st.lists(pair, max_size=8), max_size=8))


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=60, deadline=None)
@given(histories())
def test_it_is_a_running_sum_whatever_was_done_to_it(way, history):
    slots, changes = history
    tree, values = make(way, slots), np.zeros(slots, np.int64)
    where = np.linspace(0, 1, 33)
    for change in changes:
        for slot, value in change:
            values[slot] = value
        tree.set(whole(*(s for s, _ in change)), whole(*(v for _, v in change)))
        assert np.array_equal(tree.get(np.arange(slots)), values)
        assert tree.total == sum(values.tolist())
        if tree.total:
            assert tree.draw(where).tolist() == found(values, where)


@pytest.mark.parametrize("way", ["loops", "numba"])
def test_every_way_gives_the_same_bits(way):
    slots, rng = 3_000, np.random.default_rng(0)
    ours, numpys = make(way, slots), make("numpy", slots)
    for _ in range(100 if way == "loops" else 4_000):
        n = rng.integers(1, 40)
        at, values = rng.integers(slots, size=n), (rng.random(n) ** 8 * 2**40).astype(np.int64)
        where = np.sort(rng.random(n))
        for tree in (ours, numpys):
            tree.set(at, values)
        assert ours.draw(where).tolist() == numpys.draw(where).tolist()
    assert np.array_equal(ours._blocks, numpys._blocks)
    assert np.array_equal(ours._sums, numpys._sums)
    assert ours.total == numpys.total


@pytest.mark.parametrize("way", ["numpy", "numba"])
def test_after_a_million_changes_the_sums_are_still_exact(way):
    tree, rng = make(way, 1_000), np.random.default_rng(0)
    values = (rng.random((4_000, 256)) ** 8 * 2**40).astype(np.int64)
    for change in values:
        tree.set(rng.integers(1_000, size=256), change)
    assert tree.total == int(tree.get(np.arange(1_000)).sum())
    assert np.array_equal(tree._sums, tree._blocks.sum(1))


@pytest.mark.parametrize("way", ["numpy", "numba"])
def test_slots_are_drawn_in_proportion_and_those_of_0_never(way):
    tree, values = make(way, 40), np.arange(40) % 8
    tree.set(np.arange(40), values)
    drawn = tree.draw(np.sort(np.random.default_rng(0).random(20_000)))
    counts = np.bincount(drawn, minlength=40)
    assert not counts[values == 0].any()
    expected = 20_000 * values / values.sum()
    assert chisquare(counts[values > 0], expected[values > 0]).pvalue > 0.001


@pytest.mark.parametrize("way", WAYS)
def test_the_ends_of_the_sum_belong_to_slots_above_0(way):
    tree = make(way, 50)
    tree.set(whole(3, 20), whole(1, 1))
    assert tree.draw(np.array([0, 0.49, 0.5, 1])).tolist() == [3, 3, 20, 20]


@pytest.mark.parametrize("way", WAYS)
def test_of_repeats_the_last_wins(way):
    tree = make(way, 20)
    tree.set(whole(7, 5, 7, 7), whole(1, 2, 3, 4))
    assert (tree.get(whole(7, 5)).tolist(), tree.total) == ([4, 2], 6)


@pytest.mark.parametrize("slots", [1, 2, 1_000, 1_025])
def test_no_sum_overflows(slots):
    tree = make("numpy", slots)
    tree.set(np.arange(slots), np.full(slots, tree.largest))
    assert tree.total == slots * tree.largest <= 2**62
    assert tree.draw(np.array([0, 1 - 1e-12])).tolist() == [0, slots - 1]


@pytest.mark.parametrize("value", [-1, 2**62])
def test_a_value_out_of_range_is_refused_and_nothing_changes(value):
    tree = make("numpy", 20)
    tree.set(whole(1, 2), whole(5, 6))
    with pytest.raises(ValueError, match=f"priority {value}: expected 0 to"):
        tree.set(whole(1, 2), whole(3, value))
    assert (tree.get(whole(1, 2)).tolist(), tree.total) == ([5, 6], 11)


def test_nothing_can_be_drawn_where_all_is_0():
    with pytest.raises(ValueError, match="all priorities are 0"):
        make("numpy", 20).draw(np.array([0.5]))
