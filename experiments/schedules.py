"""Values that change over a task, or over the whole sequence."""

from experiments.run import Run


def epsilon(run: Run) -> float:
    """The chance to explore: 1 until learning starts, then falling over part of the span."""
    config = run.config
    step = run.clock.step if config.restart_schedules else run.clock.total
    if step < config.learning_starts:
        return 1.0
    passed = run.fraction / config.epsilon_fraction if config.epsilon_fraction else 1.0
    return linear(config.epsilon_start, config.epsilon_end, passed)


def learning_rate(run: Run) -> float:
    """Adam's learning rate, falling linearly over the span."""
    return linear(run.config.learning_rate, run.config.learning_rate_end, run.fraction)


def linear(begin: float, end: float, fraction: float) -> float:
    """From `begin` at fraction 0 to `end` at fraction 1 and beyond."""
    return begin + (end - begin) * min(max(fraction, 0.0), 1.0)
