import pytest

from buffers.names import check_known


def test_a_known_name_passes():
    check_known("fruit", "apple", ["apple", "pear"])


def test_an_unknown_name_is_refused_with_the_nearest_or_with_all():
    with pytest.raises(ValueError, match=r"^unknown fruit 'aple'; did you mean apple\?\Z"):
        check_known("fruit", "aple", ["apple", "pear"])
    with pytest.raises(ValueError, match=r"^unknown fruit 'xyz'; known are apple, pear\Z"):
        check_known("fruit", "xyz", ["apple", "pear"])


def test_the_nearest_is_found_whatever_the_case():
    with pytest.raises(ValueError, match=r"^unknown fruit 'APPLE'; did you mean Apple\?\Z"):
        check_known("fruit", "APPLE", ["Apple", "Pear"])
