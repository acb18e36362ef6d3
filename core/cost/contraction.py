"""Along which axis the operands of a layer are multiplied and summed up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from onnx_pare.cost.call import operator

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    Array = np.ndarray[Any, Any]

Axis = Callable[["ir.Node", int], int]


def summed_axis(node: ir.Node, operand: int) -> int | None:
    """Return the axis of an operand that is summed up, None if it is not known for this operator.

    For convolutions it is that of the input channels, for matrix products K; negative ones count from the
    end. Operands are counted among those that every MAC multiplies: 0 is the data, 1 the weight.
    """
    rule = _AXES.get(operator(node))
    return None if rule is None else rule(node, operand)


def along_summed(node: ir.Node, operand: int, weight: Array) -> Array | None:
    """Return an operand with the axis that is summed up first, all else behind it as one; None if not known.

    A grouped convolution's weight (Cout, Cin/groups, …) becomes (Cin, Cout/groups · kernel): each input
    channel meets the output channels of its own group only.
    """
    import numpy as np

    axis = summed_axis(node, operand)
    if axis is None:
        return None
    groups = node.attributes.get_int("group", 1)
    if operand == 1 and axis == 1 and groups > 1:
        outputs, inputs = weight.shape[:2]
        parts = weight.reshape(groups, outputs // groups, inputs, -1)
        return np.reshape(parts.swapaxes(1, 2), (groups * inputs, -1))
    axis = max(axis, -weight.ndim)
    return np.reshape(weight.swapaxes(0, axis), (weight.shape[axis], -1))


def _conv(node: ir.Node, operand: int) -> int:
    return 1


def _conv_transpose(node: ir.Node, operand: int) -> int:
    return 1 if operand == 0 else 0


def _matmul(node: ir.Node, operand: int) -> int:
    """A is (…, M, K) and B (…, K, N), either transposed if the operator has an attribute that says so."""
    transposed = node.attributes.get_int("transB" if operand else "transA", 0)
    return -1 if (operand == 0) != bool(transposed) else -2


_MATRICES = """
    Gemm MatMul MatMulInteger QLinearMatMul com.microsoft:DynamicQuantizeMatMul com.microsoft:FusedGemm
    com.microsoft:FusedMatMul com.microsoft:FusedMatMulActivation com.microsoft:GemmFastGelu
    com.microsoft:GemmFloat8 com.microsoft:MatMulInteger16 com.microsoft:MatMulIntegerToFloat
    com.microsoft:MatMulNBits com.microsoft:QGemm com.microsoft:TransposeMatMul
"""
_CONVOLUTIONS = """
    CausalConvWithState Conv ConvInteger DeformConv QLinearConv com.microsoft:FusedConv
    com.microsoft:QLinearConv
"""
_AXES: Mapping[str, Axis] = {
    **dict.fromkeys(_MATRICES.split(), _matmul),
    **dict.fromkeys(_CONVOLUTIONS.split(), _conv),
    "ConvTranspose": _conv_transpose,
    "com.microsoft:ConvTransposeWithDynamicPads": _conv_transpose,
}
