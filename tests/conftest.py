"""What all tests share."""

import gc
import multiprocessing


def pytest_collection_finish() -> None:
    """Undoes what imports did to the process.

    Garbage is searched among what the tests make, not each time among all that was imported. And
    processes start as they do by default: TorchRL, once imported, has each import everything anew.
    """
    gc.collect()
    gc.freeze()
    multiprocessing.set_start_method(None, force=True)
