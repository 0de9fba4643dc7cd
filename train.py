"""Train on a sequence of environments: python train.py --envs CartPole,Acrobot."""

import sys

from experiments.command import run_command, train_command


def main() -> None:
    """The command line of `train`."""
    sys.exit(run_command(train_command))


if __name__ == "__main__":
    main()
