"""Buffers that keep a coreset of the stream, one per rule of `buffers.selection`."""

from buffers.coreset.buffer import CoresetBuffer
from buffers.coreset.features import Features, states
from buffers.coreset.kinds import CoverageBuffer, FacilityBuffer, GradientBuffer, HerdingBuffer
from buffers.coreset.reasons import Reason

__all__ = [
    "CoresetBuffer",
    "CoverageBuffer",
    "FacilityBuffer",
    "Features",
    "GradientBuffer",
    "HerdingBuffer",
    "Reason",
    "states",
]
