"""Kinds of operators whose integer kernels may be slower than float: what a placement may leave out at once.

Whole kinds rather than single nodes: a kind is left float for what it is, not for what one noisy timing of
one node said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_pare.graph.edit import static_shape

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.shapes import Shapes
    from onnx_pare.quantization.placement import Placement

Belongs = Callable[["ir.Node", "Shapes"], bool]

# a dot product of integers takes four channels at a time, and vectors of them many more
FEW_CHANNELS = 4


@dataclass(frozen=True)
class Region:
    """A kind of operators, and those of one model.

    Attributes:
        name: What the report calls it.
        why: Why its integer kernels may lose, one clause.
        nodes: Names of its nodes.
    """

    name: str
    why: str
    nodes: frozenset[str]


def regions(placement: Placement, shapes: Shapes) -> tuple[Region, ...]:
    """Return the kinds that a placement holds, in the order of `KINDS`; kinds of equal nodes only once."""
    nodes = [*placement.axes, *placement.followers]
    found: dict[frozenset[str], Region] = {}
    for name, (why, belongs) in KINDS.items():
        members = frozenset(node.name or "" for node in nodes if belongs(node, shapes))
        if members:
            found.setdefault(members, Region(name, why, members))
    return tuple(found.values())


def _first(node: ir.Node, shapes: Shapes) -> bool:
    shape = _weight_shape(node)
    return node.op_type == "Conv" and 0 < shape[1] * _groups(node) <= FEW_CHANNELS


def _depthwise(node: ir.Node, shapes: Shapes) -> bool:
    return node.op_type == "Conv" and _groups(node) > 1 and _weight_shape(node)[1] == 1


def _squeeze(node: ir.Node, shapes: Shapes) -> bool:
    """Tell whether the operator makes one value per channel: a squeeze-and-excite branch, a head."""
    info = shapes.get(node.outputs[0].name or "")
    return info is not None and len(info.shape) > 2 and set(info.shape[2:]) == {1}


def _weight_shape(node: ir.Node) -> tuple[int, ...]:
    weight = node.inputs[1] if len(node.inputs) > 1 else None
    return (0, 0) if weight is None else static_shape(weight) or (0, 0)


def _groups(node: ir.Node) -> int:
    return node.attributes.get_int("group", 1) or 1


def _of(*types: str) -> Belongs:
    return lambda node, shapes: node.op_type in types


KINDS: dict[str, tuple[str, Belongs]] = {
    "first convolution": ("too few input channels to fill an integer dot product", _first),
    # other pools between integers are fused into integer kernels all the same
    "global pooling": ("one value per channel is quick to convert", _of("GlobalAveragePool")),
    "squeeze": ("on one value per channel the borders cost more than the work", _squeeze),
    "activations": (
        "integer activations cost as much as the convolutions around them",
        _of("HardSigmoid", "HardSwish", "LeakyRelu", "Mul", "Sigmoid"),
    ),
    "joins": ("inputs of other scales are converted value by value", _of("Add", "Concat")),
    "depthwise convolutions": ("integer depthwise kernels gain little", _depthwise),
    "matrix products": ("few rows leave nothing to gain but memory", _of("Gemm", "MatMul")),
}
