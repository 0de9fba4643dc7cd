"""Dark experience replay: rows of earlier tasks only remind the network of its own Q values.

Source: Buzzega et al. 2020 (arXiv 2004.07211), algorithm 1, alpha being `strength`: the term
of `distill`, while the TD loss is of the running task's rows alone.
Deviations: those of `distill`. Its strength 5 beside a TD loss of which half the rows are old is
strength 10 here, where the TD loss is the mean over the other half.
"""

from dataclasses import replace

from agents.methods.distill import distill
from agents.methods.method import Method
from agents.model import Model


def der(model: Model, *, strength: float = 10.0) -> Method:
    """Mean squared distance to the stored Q values, and no TD loss on the rows that have them.

    At strength 0 those rows have no other use: they stay in the TD loss.
    """
    return replace(distill(model, strength=strength), name="der", reserves_old=strength > 0)
