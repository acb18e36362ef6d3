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
_NARROW = frozenset({"INT2", "INT4", "INT8", "UINT2", "UINT4", "UINT8"})


def quantized_nodes(model: ir.Model) -> list[ir.Node]:
    """Return the nodes that quantize, dequantize or compute in integers, of all graphs and functions.

    The Cast of a stored matrix of 8 bits or less is one: `quantize_weights` restores weights by it.
    """
    bodies = [*model.graphs(), *model.functions.values()]
    return [node for body in bodies for node in body if _is_quantized(node)]


def _is_quantized(node: ir.Node) -> bool:
    return node.op_type in EXACT or node.op_type.startswith(PREFIXES) or _restores_weights(node)


def _restores_weights(node: ir.Node) -> bool:
    import onnx_ir as ir

    if node.op_type != "Cast" or node.domain or node.inputs[0] is None:
        return False
    tensor = ir.convenience.get_const_tensor(node.inputs[0])
    return tensor is not None and len(tensor.shape) > 1 and tensor.dtype.name in _NARROW
