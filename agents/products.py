"""Large matrix products given to oneDNN where PyTorch's own library makes half of the processor.

PyTorch multiplies with Intel's MKL, which on AMD's processors uses half of a register of 512 bits.
oneDNN, which PyTorch carries along, uses all of it: from Zen 5 on, which computes with the whole of
it at once, that takes half the time from 128 x 256 x 256 on; for small matrices its call takes
longer than the product. Zen 4 computes in two halves: nothing is gained there. What is chosen
depends on nothing but shapes and processor, so that a run is repeated bit by bit on the same
machine.
"""

import functools
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

aten = torch.ops.aten
LARGE = 2**22  # multiplications of one product
ZEN_5 = 26  # AMD's number of that family of processors

# Not `custom_op`, whose calls take 6 microseconds longer, a fifteenth of such a product.
_library = torch.library.Library("retain", "DEF")
_library.define("product(Tensor left, Tensor right, Tensor? bias) -> Tensor")


@torch.library.impl(_library, "product", "CPU")
def _product(left: Tensor, right: Tensor, bias: Tensor | None) -> Tensor:
    """OneDNN takes the second matrix transposed."""
    made: Tensor = torch.ops.mkldnn._linear_pointwise(left, right.t(), bias, "none", [], "")
    return made


@torch.library.register_fake("retain::product", lib=_library)  # type: ignore[untyped-decorator]
def _shape_of_product(left: Tensor, right: Tensor, bias: Tensor | None) -> Tensor:
    return left.new_empty(left.shape[0], right.shape[1])


def hand_over(graph: GraphModule) -> None:
    """Replaces the large float32 products of a recorded graph where oneDNN is the faster."""
    if not mkl_is_slow():
        return
    for node in list(graph.graph.nodes):
        rule = RULES.get(node.target) if node.op == "call_function" else None
        if rule is None or node.kwargs or not _is_large(*node.args[-2:]):
            continue
        with graph.graph.inserting_before(node):
            made = rule(graph.graph, *node.args)
        made.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(made)
        graph.graph.erase_node(node)
    graph.recompile()


@functools.cache
def mkl_is_slow() -> bool:
    """Whether this is a processor of AMD's that computes 512 bits at once, and oneDNN is there."""
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    try:
        whole = is_zen_5(Path("/proc/cpuinfo").read_text())
    except OSError:
        whole = False
    return wide and whole and torch.backends.mkldnn.is_available()


def is_zen_5(cpuinfo: str) -> bool:
    """Whether Linux's description of a processor is of AMD's Zen 5 or later."""
    family = re.search(r"^cpu family\s*: (\d+)$", cpuinfo, re.MULTILINE)
    return "AuthenticAMD" in cpuinfo and family is not None and int(family[1]) >= ZEN_5


def _is_large(left: Any, right: Any) -> bool:
    """Whether these are matrices of single precision, and large ones."""
    a, b = left.meta["val"], right.meta["val"]
    return a.dtype == torch.float32 and a.shape[-2] * a.shape[-1] * b.shape[-1] >= LARGE


def _linear(graph: Any, left: Node, right: Node, bias: Node | None = None) -> Node:
    """`left @ right + bias`."""
    made: Node = graph.call_function(torch.ops.retain.product.default, (left, right, bias))
    return made


def _of_members(graph: Any, left: Node, right: Node) -> Node:
    """Each member's product by itself."""
    products = []
    for member in range(left.meta["val"].shape[0]):
        own = [graph.call_function(aten.select.int, (each, 0, member)) for each in (left, right)]
        products.append(_linear(graph, *own))
    made: Node = graph.call_function(aten.stack.default, (products,))
    return made


RULES: dict[Any, Any] = {
    aten.mm.default: _linear,
    aten.addmm.default: lambda graph, bias, left, right: _linear(graph, left, right, bias),
    aten.bmm.default: _of_members,
}
