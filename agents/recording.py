"""One recording: the operations of a pure function, and the form of the tensors that it fits."""

import logging
import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.jit._fuser import optimized_execution

from agents.captured import Captured, Operations
from agents.graphs import Place, prune, shorten
from agents.products import hand_over

LOG = logging.getLogger("retain")
Tree = dict[str, Tensor]
Function = Callable[..., tuple[Tree, ...]]


class Recording:
    """The operations of a function on arguments of one form.

    Args:
        function: As of `compiling.Recorded`.
        trees: Its arguments; nothing is computed.

    Attributes:
        result_fits_again: Whether the function's first result can be its next first argument; known
            once it was played, since what is compiled may give other strides than were recorded.
    """

    def __init__(self, function: Function, trees: tuple[Tree, ...]) -> None:
        places = [(number, name) for number, tree in enumerate(trees) for name in tree]
        self._graph, result_names = _recorded(function, trees, places)
        inputs, unchanged, ends = prune(self._graph, places)
        self._inputs, self._unchanged = _Places(inputs), unchanged
        self._captures = _can_be_captured(self._graph, self._inputs.of(trees))
        names = [[n for at, n in inputs if at == number] for number in range(len(trees))]
        self._names = names
        self._forms = [_form(tree, own) for tree, own in zip(trees, names, strict=True)]
        numbers = iter(ends)
        self._results = [(own, _several([next(numbers) for _ in own])) for own in result_names]
        self.result_fits_again: bool | None = None
        self._operations: Operations = self._graph

    def fits(self, trees: tuple[Tree, ...], known: tuple[Tree, ...]) -> bool:
        """Whether the arguments are of the recorded form.

        Args:
            trees: The arguments.
            known: Arguments that are known to fit; none, if none are.
        """
        if len(trees) != len(self._forms):
            return False
        pairs = zip_longest(trees, known, self._names, self._forms)
        return all(tree is fit or _form(tree, names) == form for tree, fit, names, form in pairs)

    def play(self, trees: tuple[Tree, ...]) -> tuple[Tree, ...]:
        """The function's results for arguments that fit."""
        tensors = [*self._operations(*self._inputs.of(trees))]
        tensors += [trees[number][name] for number, name in self._unchanged]
        made = tuple(
            [dict(zip(names, ends(tensors), strict=True)) for names, ends in self._results]
        )
        if self.result_fits_again is None:
            same = _form(made[0], self._names[0]) == self._forms[0]
            self.result_fits_again = same and made[0].keys() == trees[0].keys()
        return made

    def interpret(self, trees: tuple[Tree, ...]) -> None:
        """From now on runs the operations in PyTorch's interpreter, in place of Python's.

        It does not know some (gradients of convolutions and of LayerNorm): Python goes on then. On
        a GPU they are captured instead.

        Args:
            trees: Arguments that fit.
        """
        examples = self._inputs.of(trees)
        if self._captures and self._capture(self._graph, examples):
            return
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # TorchScript is no longer developed
            try:
                traced = torch.jit.trace(
                    lambda *tensors: tuple(self._graph(*tensors)),
                    examples,
                    check_trace=False,
                )
            except RuntimeError:
                return

        def operations(*tensors: Tensor) -> Sequence[Tensor]:
            with optimized_execution(False):  # the operations as they are: the same bits
                return traced(*tensors)

        self._operations = operations

    def compile(self, trees: tuple[Tree, ...]) -> None:
        """From now on runs one piece of C++ (on a GPU: of Triton, captured), made by inductor.

        Args:
            trees: Arguments that fit.
        """
        examples = self._inputs.of(trees)
        on_cpu = all(tensor.device.type == "cpu" for tensor in examples)
        if self._captures:  # which reads from copies
            examples = [example.clone() for example in examples]
        if on_cpu:
            from agents.rewrites import rewrite  # imports inductor, which takes a second

            hand_over(self._graph)
            rewrite(self._graph)
        with torch.no_grad():
            # Whoever plays this looks at the form of what is given: C++ need not look again.
            # Only without `cpp_wrapper` it takes the examples' strides, not the recorded ones.
            options: dict[str, Any] = {"cpp_wrapper": on_cpu, "size_asserts": False}
            self._operations = torch._inductor.compile(self._graph, [*examples], options=options)
        if self._captures and not self._capture(compiled := self._operations, examples):
            self._operations = lambda *given: compiled(*(tensor.clone() for tensor in given))

    def _capture(self, operations: Operations, examples: Sequence[Tensor]) -> bool:
        """From now on runs these operations by one launch; says so and does not, where it fails."""
        try:
            self._operations = Captured(operations, examples)
        except RuntimeError as error:
            words = "what runs on the GPU cannot be captured and runs slower: %s"
            LOG.warning(words, first_line(error))
            return False
        return True


def _recorded(
    function: Function, trees: tuple[Tree, ...], places: list[Place]
) -> tuple[GraphModule, list[list[str]]]:
    """The operations of a function of the tensors at these places, and its results' names."""
    result_names: list[list[str]] = []

    def flat(*tensors: Tensor) -> list[Tensor]:
        given: tuple[Tree, ...] = tuple({} for _ in trees)
        for (number, name), tensor in zip(places, tensors, strict=True):
            given[number][name] = tensor
        results = function(*given)
        result_names[:] = [list(tree) for tree in results]
        return [tensor for tree in results for tensor in tree.values()]

    with torch.no_grad():
        record = make_fx(flat, tracing_mode="fake", _allow_non_fake_inputs=True)
        graph = shorten(record(*(trees[number][name] for number, name in places)))
    return graph, result_names


class _Places:
    """Tensors in a tuple of trees, taken out of it by few calls.

    Args:
        places: Where they are, those of the first tree first.
    """

    def __init__(self, places: Sequence[Place]) -> None:
        trees = sorted({number for number, _ in places})
        self._names = [(tree, _several([n for at, n in places if at == tree])) for tree in trees]

    def of(self, trees: tuple[Tree, ...]) -> list[Tensor]:
        """The tensors there."""
        found: list[Tensor] = []
        for number, names in self._names:
            found += names(trees[number])
        return found


def _several(keys: Sequence[Any]) -> Callable[[Any], Sequence[Any]]:
    """What takes the values of these keys out of a list or a dict, as a sequence."""
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda values: [values[key] for key in keys]


def _can_be_captured(graph: GraphModule, examples: Sequence[Tensor]) -> bool:
    """Whether all is on a GPU, and no operator of our own, which may wait for it, is in between."""
    ours = any(getattr(node.target, "namespace", "") == "retain" for node in graph.graph.nodes)
    return not ours and {tensor.is_cuda for tensor in examples} == {True}


def first_line(error: Exception) -> str:
    """What an error says, in one line; its kind, if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _form(tree: Tree, names: Iterable[str]) -> list[Any] | None:
    """All that compiled code takes for granted of these tensors; None where one is missing."""
    try:
        given = [tree[name] for name in names]
    except KeyError:
        return None
    return [(tensor.shape, tensor.stride(), tensor.dtype) for tensor in given]
