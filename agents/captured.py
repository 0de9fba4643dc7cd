"""Operations on a GPU captured as a CUDA graph: one launch in place of one for each of them.

On small networks a GPU waits for launches most of the time, as a processor does for Python.
"""

import gc
from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

WARM_UPS = 3  # in which libraries take the memory that they need, which a graph cannot
Operations = Callable[..., Sequence[Tensor]]
Replay = Callable[[], object]


def as_graph(function: Operations) -> tuple[Replay, Sequence[Tensor]]:
    """Captures what a function launches, after some calls that are not captured."""
    gc.collect()  # what is freed during a capture spoils it
    stream, now = torch.cuda.Stream(), torch.cuda.current_stream()
    stream.wait_stream(now)
    with torch.cuda.stream(stream):  # from which PyTorch does not come back if a capture fails
        for _ in range(WARM_UPS):
            function()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            made = function()
    now.wait_stream(stream)
    return graph.replay, made


class Captured:
    """What operations do to tensors of one form, done again by one launch.

    A graph reads and writes the same memory at every launch. So what is given is copied to where it
    reads, and what it made to new tensors, which are the caller's to keep.

    Args:
        operations: Pure, and without waiting for the GPU in between.
        examples: Of the form that all later tensors have.
        capture: Makes of a function without arguments `(replay, tensors)`: what it returns, and a
            call that does the same again, from and to the same memory.

    Raises:
        RuntimeError: The operations cannot be captured.
    """

    def __init__(
        self,
        operations: Operations,
        examples: Sequence[Tensor],
        capture: Callable[[Operations], tuple[Replay, Sequence[Tensor]]] = as_graph,
    ) -> None:
        self._operations = operations  # a graph launches its code and does not keep it
        self._given = [example.clone() for example in examples]
        self._replay, made = capture(lambda: operations(*self._given))
        self._made = list(made)
        self._alike = _alike(examples, self._given), _alike(self._made, self._rooms())

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        """What the operations make of tensors of the examples' form."""
        _copy(tensors, self._given, self._alike[0])
        self._replay()
        made = self._rooms()
        _copy(self._made, made, self._alike[1])
        return made

    def _rooms(self) -> list[Tensor]:
        return [torch.empty_like(tensor) for tensor in self._made]


def _alike(sources: Sequence[Tensor], targets: Sequence[Tensor]) -> list[list[int]]:
    """Which tensors can be copied by one launch: of one type, in the same order in memory."""
    found: dict[object, list[int]] = defaultdict(list)
    for number, (source, target) in enumerate(zip(sources, targets, strict=True)):
        same = source.stride() == target.stride()
        found[source.dtype if same else number].append(number)
    return list(found.values())


def _copy(sources: Sequence[Tensor], targets: Sequence[Tensor], alike: list[list[int]]) -> None:
    for numbers in alike:
        torch._foreach_copy_([targets[n] for n in numbers], [sources[n] for n in numbers])
