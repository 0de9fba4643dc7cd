"""A coreset for each rule of `buffers.selection` but k-center, which is the default."""

from buffers.coreset.buffer import CoresetBuffer


class HerdingBuffer(CoresetBuffer):
    """A coreset whose mean is that of the stream; see `buffers.selection.herding`."""

    _default = "herding"


class CoverageBuffer(CoresetBuffer):
    """A coreset of rows with few neighbours; see `buffers.selection.max_coverage`."""

    _default = "coverage"


class GradientBuffer(CoresetBuffer):
    """A coreset of rows with unlike gradients; see `buffers.selection.gss_greedy`."""

    _default = "gss"


class FacilityBuffer(CoresetBuffer):
    """A weighted coreset of rows near to all; see `buffers.selection.facility_location`."""

    _default = "facility"
