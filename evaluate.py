"""Score a run's checkpoint on every task, and film it: python evaluate.py runs/NAME --video."""

import sys

from experiments.command import evaluate_command, run_command


def main() -> None:
    """The command line of `evaluate`."""
    sys.exit(run_command(evaluate_command))


if __name__ == "__main__":
    main()
