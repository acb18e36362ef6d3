"""Which Q/DQ pairs a runtime fuses away, so that their float tensors never exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

ACTIVATIONS = frozenset({"Clip", "Relu"})
# what multiplies integers even if its output stays float: onnxruntime's MatMulIntegerToFloat, QGemm
PRODUCTS = frozenset({"Gemm", "MatMul"})


@dataclass(frozen=True)
class Fused:
    """What quantized kernels leave out.

    Attributes:
        views: Nodes that copy nothing: QuantizeLinear, activations before it, DequantizeLinear.
        stored_as: Name of a float tensor -> name of the quantized one that is stored in its place.
    """

    views: frozenset[ir.Node]
    stored_as: dict[str, str]


def fused(nodes: Sequence[ir.Node], constants: frozenset[str]) -> Fused:
    """Find the operators that run on integers, as onnxruntime does.

    Such a node reads only dequantized tensors and constants, and all that it makes goes, maybe by way of Relu
    or Clip, into QuantizeLinear alone, unless it is a matrix product. Dequantized tensors that only they read
    are never stored as floats.
    """
    views: set[ir.Node] = set()
    stored_as: dict[str, str] = {}
    integer: set[ir.Node] = set()
    for node in nodes:
        chains = [_quantized_as(value) for value in node.outputs]
        quantized = all(chains)
        if not (_is_dequantized(node, constants) and (quantized or node.op_type in PRODUCTS)):
            continue
        integer.add(node)
        if not quantized:
            continue
        for value, chain in zip(node.outputs, chains, strict=True):
            views.update(chain)
            for floating in (value, *(step.outputs[0] for step in chain[:-1])):
                stored_as[floating.name or ""] = chain[-1].outputs[0].name or ""
    for node in nodes:
        if node.op_type == "DequantizeLinear" and node.inputs[0] is not None and _feeds(node, integer):
            views.add(node)
            stored_as[node.outputs[0].name or ""] = node.inputs[0].name or ""
    return Fused(frozenset(views), stored_as)


def _feeds(node: ir.Node, integer: set[ir.Node]) -> bool:
    readers = node.outputs[0].consumers()
    return bool(readers) and not node.outputs[0].is_graph_output() and all(r in integer for r in readers)


def _is_dequantized(node: ir.Node, constants: frozenset[str]) -> bool:
    """Return whether a node reads activations, and each comes out of a DequantizeLinear."""
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return False
    makers = [v.producer() for v in node.inputs if v is not None and v.name not in constants]
    return bool(makers) and all(maker is not None and maker.op_type == "DequantizeLinear" for maker in makers)


def _quantized_as(value: ir.Value) -> tuple[ir.Node, ...]:
    """Return the nodes from a tensor to the QuantizeLinear it ends in; none if something else reads it."""
    path: list[ir.Node] = []
    while True:
        readers = value.consumers()
        if len(readers) != 1 or value.is_graph_output():
            return ()
        path.append(readers[0])
        if readers[0].op_type == "QuantizeLinear":
            return tuple(path)
        if readers[0].op_type not in ACTIVATIONS:
            return ()
        value = readers[0].outputs[0]
