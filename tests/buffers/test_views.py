import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffers.views import _distinct, age_histogram, coverage, duplicates, effective_size


def test_ages_are_counted_in_classes_that_double():
    assert age_histogram(np.array([0, 1, 2, 3, 3, 4, 7, 8])) == {
        "edges": [0, 1, 2, 4, 8, 16],
        "rows": [1, 1, 3, 2, 1],
    }
    assert age_histogram(np.array([], int)) == {"edges": [0], "rows": []}


def test_duplicates_by_hand():
    assert duplicates(np.array([3, 3, 3, 5])) == 0.5
    assert duplicates(np.arange(4)) == 0


@pytest.mark.parametrize(
    ("index", "weight", "size"),
    [
        ([0, 1, 2, 3], [1, 1, 1, 1], 4),
        ([0, 1, 2, 3], [5, 5, 5, 5], 4),
        ([0, 0, 0, 0], [1, 1, 1, 1], 1),
        ([0, 0, 1], [1, 1, 1], 9 / 5),
        ([0, 1], [3, 1], 16 / 10),
    ],
)
def test_the_effective_size_by_hand(index, weight, size):
    assert effective_size(np.array(index), np.array(weight)) == pytest.approx(size)


def test_copies_cover_one_cell_and_distant_rows_a_cell_each():
    assert coverage(np.ones((8, 2))) == 1 / 8
    assert coverage(np.array([[0.0], [1.0], [2.0], [3.0]])) == 1  # half a deviation is 0.56
    assert coverage(np.repeat([[0.0, 5.0], [9.0, 5.0]], 4, axis=0)) == 2 / 8


@given(
    st.integers(1, 6), st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from([1, 4, 2**30])
)
def test_cells_are_counted_as_sets_of_rows_are(numbers, rows, seed, wide):
    cells = np.random.default_rng(seed).integers(-2, 3, (rows, numbers)) * wide
    assert _distinct(cells) == len({tuple(row) for row in cells.tolist()})


def test_cells_as_far_apart_as_whole_numbers_are_counted():
    ends = np.iinfo(np.int64)
    assert _distinct(np.array([[ends.min], [ends.max], [0], [0]])) == 3
    assert _distinct(np.ones((3, 100), int)) == 1


def test_images_have_a_coverage():
    states = np.zeros((4, 1, 2, 2), np.uint8)
    states[2:, 0, 1, 1] = 200
    assert coverage(states) == 0.5


def test_with_one_reference_wide_rows_cover_more_than_narrow_ones():
    """By their own deviations both cover the same; cells of the reference are 0.5 wide."""
    narrow, wide = np.array([[0.0], [0.1], [0.2], [0.3]]), np.array([[0.0], [1.0], [2.0], [3.0]])
    assert coverage(narrow) == coverage(wide) == 1
    reference = np.array([[-1.0], [1.0]])
    assert coverage(narrow, reference) == 1 / 4
    assert coverage(wide, reference) == 1
    assert coverage(wide, np.ones((5, 1))) == 1 / 4  # nothing varies there


@pytest.mark.parametrize("reference", [np.zeros((0, 2)), np.zeros((4, 3))])
def test_a_reference_of_another_shape_is_refused(reference):
    with pytest.raises(ValueError, match=r"^reference: expected rows \[2\], given \[\d, \d\]\Z"):
        coverage(np.zeros((4, 2)), reference)
