"""Recorded functions: what a pure function does to tensors, done again without its Python.

On small networks an update is dispatch, not arithmetic. A function of tensors alone does the same
operations for all inputs of one shape. So they are recorded, and from then on either replayed by
PyTorch's interpreter, in a third of the time and with the same bits; or compiled into one piece of
C++, in an eighth of the time, with other last bits, after some seconds of compiling.
"""

import logging
import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.jit._fuser import optimized_execution

from agents.graphs import shorten
from agents.products import hand_over

LOG = logging.getLogger("retain")
PLAIN_CALLS = 50  # before a function is recorded, which takes as long as some hundred calls

Tree = dict[str, Tensor]
Function = Callable[..., tuple[Tree, ...]]
Operations = Callable[..., Sequence[Tensor]]
Place = tuple[int, str]  # a tensor in a tuple of trees: which tree, and its name there


class Recorded:
    """A pure function, recorded for each shape of its arguments; where it cannot be, run as it is.

    Args:
        function: Takes dicts of tensors and returns a tuple of such. It writes into none of them,
            draws no random numbers, and its operations depend on nothing but shapes.
        what: Its name in the one line that says that it could not be recorded or compiled.
        compiled: Whether to compile it, at its first call. Otherwise it is replayed, after
            PLAIN_CALLS calls as it is, whose results are the same bit for bit.

    Attributes:
        recordings: How often it was recorded: once, unless shapes changed.
    """

    def __init__(self, function: Function, what: str, compiled: bool = False) -> None:
        self._function, self._what, self._compiled = function, what, compiled
        self._found: list[_Recording] = []
        self._fitting: tuple[Tree, ...] = ()  # what the first of these is known to fit
        self._waiting: float = 0 if compiled else PLAIN_CALLS
        self.recordings = 0

    @property
    def compiled(self) -> bool:
        """Whether it is compiled, or will be at its first call: not if that has failed."""
        return self._compiled

    def __call__(self, *trees: Tree) -> tuple[Tree, ...]:
        """What the function returns. No dict given or returned may be changed afterwards."""
        recording = self._recording_of(trees)
        if recording is None:
            return self._function(*trees)
        results = recording.play(trees)
        # A new state usually comes back as the next call's, beside what was given before.
        self._fitting = (results[0], *trees[1:]) if recording.goes_on else trees
        return results

    def _recording_of(self, trees: tuple[Tree, ...]) -> "_Recording | None":
        """The recording that fits, moved to the front; None while the function runs as it is."""
        known = self._fitting
        for number, recording in enumerate(self._found):
            if recording.fits(trees, known):
                self._found.insert(0, self._found.pop(number))
                return recording
            known = ()  # to the others
        if self._waiting > 0:
            self._waiting -= 1
            return None
        return self._record(trees)

    def _record(self, trees: tuple[Tree, ...]) -> "_Recording | None":
        try:
            recording = _Recording(self._function, trees)
            if self._compiled:
                recording.compile()
            else:
                recording.interpret()
        except Exception as error:  # what PyTorch raises differs between its versions
            self._function(*trees)  # raises by itself if the function is to blame
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            how = "compiled" if self._compiled else "recorded"
            LOG.warning("%s cannot be %s and runs slower: %s", self._what, how, reason)
            # A failed compilation leaves replaying; a failed recording leaves nothing.
            self._waiting = PLAIN_CALLS if self._compiled else float("inf")
            self._compiled = False
            return None
        self._found.insert(0, recording)
        self.recordings += 1
        return recording


class _Recording:
    """The operations of a function on arguments of one form.

    Args:
        function: As of `Recorded`.
        trees: Its arguments; nothing is computed.

    Attributes:
        goes_on: Whether the function's first result can be its next first argument.
    """

    def __init__(self, function: Function, trees: tuple[Tree, ...]) -> None:
        places = [(number, name) for number, tree in enumerate(trees) for name in tree]
        shape_of_results: list[list[str]] = []

        def flat(*tensors: Tensor) -> list[Tensor]:
            given: tuple[Tree, ...] = tuple({} for _ in trees)
            for (number, name), tensor in zip(places, tensors, strict=True):
                given[number][name] = tensor
            results = function(*given)
            shape_of_results[:] = [list(tree) for tree in results]
            return [tensor for tree in results for tensor in tree.values()]

        with torch.no_grad():
            recorded = make_fx(flat, tracing_mode="fake", _allow_non_fake_inputs=True)
            graph = shorten(recorded(*(trees[number][name] for number, name in places)))
        self._graph = graph
        self._inputs, self._unchanged, ends = _pruned(graph, places)
        self._examples = self._given(trees)
        names = [[n for at, n in self._inputs if at == number] for number in range(len(trees))]
        self._names = names
        self._forms = [_form(tree, own) for tree, own in zip(trees, names, strict=True)]
        numbers = iter(ends)
        self._results = [{name: next(numbers) for name in names} for names in shape_of_results]
        self.goes_on = trees[0].keys() == self._results[0].keys()
        self._operations: Operations = self._graph

    def fits(self, trees: tuple[Tree, ...], known: tuple[Tree, ...]) -> bool:
        """Whether the arguments are of the recorded form.

        Args:
            trees: The arguments.
            known: Arguments that are known to fit; none, if none are.
        """
        if len(trees) != len(self._forms):
            return False
        looks = zip_longest(trees, known, self._names, self._forms)
        return all(tree is fit or _form(tree, names) == form for tree, fit, names, form in looks)

    def play(self, trees: tuple[Tree, ...]) -> tuple[Tree, ...]:
        """The function's results for arguments that fit."""
        tensors = self._operations(*self._given(trees))
        tensors = [*tensors, *(trees[number][name] for number, name in self._unchanged)]
        return tuple({name: tensors[end] for name, end in ends.items()} for ends in self._results)

    def interpret(self) -> None:
        """From now on runs the operations in PyTorch's interpreter, in place of Python's.

        It does not know some (gradients of convolutions and of LayerNorm): Python goes on then.
        """
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # TorchScript is no longer developed
            try:
                traced = torch.jit.trace(
                    lambda *tensors: tuple(self._graph(*tensors)),
                    self._examples,
                    check_trace=False,
                )
            except RuntimeError:
                return

        def operations(*tensors: Tensor) -> Sequence[Tensor]:
            with optimized_execution(False):  # the operations as they are: the same bits
                return traced(*tensors)

        self._operations = operations

    def compile(self) -> None:
        """From now on runs one piece of C++ (on a GPU: of Triton), made by PyTorch's inductor."""
        on_cpu = all(tensor.device.type == "cpu" for tensor in self._examples)
        if on_cpu:
            from agents.rewrites import rewrite  # imports inductor, which takes a second

            hand_over(self._graph)
            rewrite(self._graph)
        with torch.no_grad():
            self._operations = torch._inductor.compile(
                self._graph, [*self._examples], options={"cpp_wrapper": on_cpu}
            )

    def _given(self, trees: tuple[Tree, ...]) -> list[Tensor]:
        return [trees[number][name] for number, name in self._inputs]


def _pruned(graph: GraphModule, places: list[Place]) -> tuple[list[Place], list[Place], list[int]]:
    """Takes unused inputs, unused operations and results that are inputs out of a graph.

    Args:
        graph: Changed in place.
        places: Where its inputs are from.

    Returns:
        Where the inputs left are from; where results that were inputs are from; and for each former
        result its number among the results left followed by these.
    """
    place_of = dict(
        zip((n for n in graph.graph.nodes if n.op == "placeholder"), places, strict=True)
    )
    output = next(node for node in graph.graph.nodes if node.op == "output")
    ends: list[Node] = list(output.args[0])
    computed = [node for node in ends if node not in place_of]
    unchanged = [node for node in ends if node in place_of]
    output.args = (computed,)
    graph.graph.eliminate_dead_code()
    inputs = [node for node in place_of if node.users]
    for node in place_of.keys() - set(inputs):
        graph.graph.erase_node(node)
    graph.recompile()
    numbers = iter(range(len(computed))), iter(range(len(computed), len(ends)))
    order = [next(numbers[node in place_of]) for node in ends]
    return [place_of[n] for n in inputs], [place_of[n] for n in unchanged], order


def _form(tree: Tree, names: Iterable[str]) -> list[Any] | None:
    """All that compiled code takes for granted of these tensors; None where one is missing."""
    try:
        given = [tree[name] for name in names]
    except KeyError:
        return None
    return [(tensor.shape, tensor.stride(), tensor.dtype) for tensor in given]


def missing_compiler() -> str | None:
    """Why nothing can be compiled here, in a few words; None where a C++ compiler is found."""
    try:
        from torch._inductor.cpp_builder import get_cpp_compiler

        get_cpp_compiler()
    except Exception as error:  # what it raises differs between versions of PyTorch
        return str(error).strip().splitlines()[0] or type(error).__name__
    return None


def gradient_of(
    function: Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]], theta: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The gradient of a function's first result, and its second one, without their history."""
    theta = theta.detach().requires_grad_()
    with torch.enable_grad():
        value, info = function(theta)
        (gradient,) = torch.autograd.grad(value, theta)
    return gradient, {name: tensor.detach() for name, tensor in info.items()}
