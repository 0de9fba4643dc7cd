"""What to say where the library that an adapter is for is not installed."""


def how_to_install(error: ImportError, package: str) -> ImportError:
    """Return what to raise instead: how to install what is missing, or, if it is there, `error`.

    Args:
        error: why an import failed.
        package: what brings it along, such as "retain-rl[tianshou]".
    """
    if not isinstance(error, ModuleNotFoundError):
        return error
    return ImportError(f"{error.name} is missing: pip install '{package}'")
