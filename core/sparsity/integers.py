"""Zeros of quantized tensors: an integer stands for exactly zero if it equals the zero point.

scale · (q − zero_point) = 0 ⇔ q = zero_point (ONNX QuantizeLinear). Where the zero point is the lowest
integer there is none below it, so that everything negative is cut off: that is what becomes of a Relu when it
is absorbed by the range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from onnx_pare.graph.edit import constant

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    Array = np.ndarray[Any, Any]

# where the zero point of the output is, for operators that do not only pass on what their inputs hold
_OUTPUT_ZERO_POINT = {"QGemm": 8, "QLinearAdd": 7, "QLinearConv": 7, "QLinearMatMul": 7}
# what may be negative before it is quantized
_SIGNED = """
    Add BatchNormalization Conv ConvTranspose Gemm GroupNormalization InstanceNormalization
    LayerNormalization MatMul Sub Sum
"""
# input -> where its zero point is
_INPUT_ZERO_POINTS = {
    "ConvInteger": {0: 2, 1: 3},
    "DequantizeLinear": {0: 2},
    "MatMulInteger": {0: 2, 1: 3},
    "MatMulIntegerToFloat": {0: 4, 1: 5},
    "QGemm": {0: 2, 3: 5},
    "QLinearConv": {0: 2, 3: 5},
    "QLinearLeakyRelu": {0: 2},
    "QLinearMatMul": {0: 2, 3: 5},
}


class Stored(NamedTuple):
    """A tensor as it can be looked at, and the number in it that stands for zero."""

    value: ir.Value
    zero: int


def cuts_at_zero(node: ir.Node) -> bool:
    """Return whether everything negative becomes the zero point, the lowest integer, in the node's output.

    That is one of an integer operator, or one that nothing but a QuantizeLinear reads.
    """
    slot = _OUTPUT_ZERO_POINT.get(node.op_type)
    if slot is not None:
        return _is_lowest(constant(_given(node, slot)))
    quantizer = _quantizer(node) if node.op_type in _SIGNED.split() else None
    if quantizer is None:
        return False
    point = _given(quantizer, 2)
    # without a zero point the integers are uint8, unless an attribute says otherwise, and it is 0
    return _is_lowest(constant(point)) if point else not quantizer.attributes.get_int("output_dtype", 0)


def stored(node: ir.Node) -> Stored:
    """Return a node's first output as it is stored: as integers if only a QuantizeLinear reads it."""
    quantizer = _quantizer(node)
    maker, slot = (node, _OUTPUT_ZERO_POINT.get(node.op_type)) if quantizer is None else (quantizer, 2)
    point = None if slot is None else _given(maker, slot)
    zero = constant(point)
    if point is not None and (zero is None or zero.size != 1):
        return Stored(node.outputs[0], 0)
    return Stored(maker.outputs[0], 0 if zero is None else int(zero.reshape(())))


def read(node: ir.Node, slot: int) -> Stored | None:
    """Return what a node reads; of a dequantized tensor the integers behind it.

    Integers quantized at run time are looked at as the floats before. None if the input is left out or has
    no single zero point.
    """
    value = _given(node, slot)
    if value is None:
        return None
    maker = value.producer()
    made_by = "" if maker is None else maker.op_type
    place = _INPUT_ZERO_POINTS.get(node.op_type, {}).get(slot)
    point = None if place is None else _given(node, place)
    zero = constant(point)
    if zero is not None:
        return Stored(value, int(zero.reshape(()))) if zero.size == 1 else None
    if point is not None and made_by != "DynamicQuantizeLinear":
        return None
    if maker is not None and (point is not None or (place is None and made_by == "DequantizeLinear")):
        return read(maker, 0)
    return Stored(value, 0)


def _given(node: ir.Node, slot: int) -> ir.Value | None:
    return node.inputs[slot] if slot < len(node.inputs) else None


def _quantizer(node: ir.Node) -> ir.Node | None:
    """Return the QuantizeLinear that alone reads what a node makes."""
    readers = node.outputs[0].consumers() if node.outputs else ()
    alone = len(readers) == 1 and not node.outputs[0].is_graph_output()
    return readers[0] if alone and readers[0].op_type == "QuantizeLinear" else None


def _is_lowest(zero: Array | None) -> bool:
    import numpy as np

    if zero is None or zero.size != 1 or zero.dtype.kind not in "iu":
        return False
    return bool(zero.item() == np.iinfo(zero.dtype).min)
