"""What is quantized in a model already."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

PREFIXES = (
    "QLinear",
    "QGemm",
    "QAttention",
    "DynamicQuantize",
    "MatMulInteger",
    "ConvInteger",
    "MatMulNBits",
)
EXACT = frozenset({"QuantizeLinear", "DequantizeLinear"})


def quantized_nodes(model: ir.Model) -> list[ir.Node]:
    """Return the nodes that quantize, dequantize or compute in integers, of all graphs and functions."""
    bodies = [*model.graphs(), *model.functions.values()]
    return [node for body in bodies for node in body if _is_quantized(node)]


def _is_quantized(node: ir.Node) -> bool:
    return node.op_type in EXACT or node.op_type.startswith(PREFIXES)
