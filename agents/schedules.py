"""Values that change over time."""


def linear(begin: float, end: float, fraction: float) -> float:
    """From `begin` at fraction 0 to `end` at fraction 1 and beyond."""
    return begin + (end - begin) * min(max(fraction, 0.0), 1.0)
