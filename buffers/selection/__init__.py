"""Which `k` of `n` rows stand for all: pure functions `(features [n, d], k, ...) -> indices [k]`.

from buffers.selection import k_center

index = k_center(states, 100)  # float [n, d] -> int64 [100], best first

Distances are Euclidean, in float32: features should be of like scale in all dimensions. What a rule
needs beyond features it asks for by name: `weight`, how many rows each row stands for; `error` and
`action`, which make the gradient of a linear last layer; `rng` where it draws. Where `gain` is
given, an array [k], it takes what each choice was worth to the rule.

Every rule raises ValueError, and changes nothing, where features are no finite [n, d], or `k` is
not from 0 to `n`.
"""

from collections.abc import Callable

import numpy as np

from buffers.selection.coverage import max_coverage
from buffers.selection.facility import facility_location
from buffers.selection.gss import gss_greedy
from buffers.selection.herding import herding
from buffers.selection.k_center import k_center
from buffers.selection.points import represented

SELECTIONS: dict[str, Callable[..., np.ndarray]] = {
    "k_center": k_center,
    "herding": herding,
    "coverage": max_coverage,
    "gss": gss_greedy,
    "facility": facility_location,
}

__all__ = [
    "SELECTIONS",
    "facility_location",
    "gss_greedy",
    "herding",
    "k_center",
    "max_coverage",
    "represented",
]
