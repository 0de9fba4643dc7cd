"""What all tests share."""

import gc


def pytest_collection_finish() -> None:
    """Garbage is searched among what the tests make, not each time among all that was imported."""
    gc.collect()
    gc.freeze()
