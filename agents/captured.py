"""Operations on a GPU captured as a CUDA graph: one launch in place of one for each of them.

On small networks a GPU waits for launches most of the time, as a processor does for Python.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

WARM_UPS = 3  # in which libraries take the memory that they need, which a graph cannot
Operations = Callable[..., Sequence[Tensor]]
Replay = Callable[[], object]


def as_graph(function: Operations) -> tuple[Replay, Sequence[Tensor]]:
    """Captures what a function launches, after some calls that are not captured."""
    stream, now = torch.cuda.Stream(), torch.cuda.current_stream()
    stream.wait_stream(now)
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            function()
    now.wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = function()
    return graph.replay, made


class Captured:
    """What operations do to tensors of one form, done again by one launch.

    A graph reads and writes the same memory at every launch. So what is given is copied to where it
    reads, and what it made to new tensors, which are the caller's to keep.

    Args:
        operations: Pure, and without waiting for the GPU in between.
        examples: Of the form that all later tensors have.
        capture: Calls a function of nothing for the last time; what it returns does the same to the
            same memory again. Beside it the tensors that were made.

    Raises:
        RuntimeError: The operations cannot be captured.
    """

    def __init__(
        self,
        operations: Operations,
        examples: Sequence[Tensor],
        capture: Callable[[Operations], tuple[Replay, Sequence[Tensor]]] = as_graph,
    ) -> None:
        self._given = [example.clone() for example in examples]
        self._replay, made = capture(lambda: operations(*self._given))
        self._made = list(made)

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        """What the operations make of tensors of the examples' form."""
        torch._foreach_copy_(self._given, [*tensors])
        self._replay()
        made = [torch.empty_like(tensor) for tensor in self._made]
        torch._foreach_copy_(made, self._made)
        return made
