"""Activations that make exact zeros, those that only bend what is negative, and where their channels are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from onnx_pare.graph.edit import constant
from onnx_pare.sparsity.integers import cuts_at_zero

if TYPE_CHECKING:
    import onnx_ir as ir

Rule = Callable[["ir.Node"], bool]

# what keeps the axis of the channels on the way from a matrix product to its activation
_ELEMENTWISE = "Add BatchNormalization Div LayerNormalization Mul Sub QuantizeLinear DequantizeLinear"
_MATRIX = frozenset({"FusedGemm", "Gemm", "MatMul", "MatMulIntegerToFloat", "QGemm", "QLinearMatMul"})
_COMPARISONS = frozenset({"Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
_KEEPS_AXIS = _COMPARISONS.union(_ELEMENTWISE.split())


def makes_zeros(node: ir.Node) -> bool:
    """Return whether the node sets a whole piece of its input's range to exactly zero.

    Relu; Clip from or to 0; ThresholdedRelu; Max or Min with 0; HardSigmoid and HardSwish (which are zero
    where β + α·x ≤ 0: below −2.5 and −3 by default); Shrink; Where(x > bound, x, 0); onnxruntime's FusedConv
    and FusedGemm with such an activation; and what ends in integers whose lowest is the zero point.
    Operators that only pass zeros on (MaxPool, Concat, …) do not count, nor do those that merely come close
    (Gelu, Mish, Sigmoid, SiLU, Softmax).
    """
    rule = _RULES.get((node.domain, node.op_type))
    return (rule is not None and rule(node)) or cuts_at_zero(node)


def bends(node: ir.Node) -> bool:
    """Return whether the node scales what is negative, which leaves no zeros: LeakyRelu and PRelu."""
    return (node.domain, node.op_type) in _BENDING and not makes_zeros(node)


def channels_last(node: ir.Node) -> bool:
    """Return whether the node's channels are its last axis: it is, or follows element by element, a product.

    All else, convolutions above all, has them on axis 1.
    """
    maker: ir.Node | None = node
    if node.op_type not in _MATRIX:
        maker = _maker(node)
        while maker is not None and maker.op_type in _KEEPS_AXIS:
            maker = _maker(maker)
    return maker is not None and maker.op_type in _MATRIX


def _maker(node: ir.Node) -> ir.Node | None:
    """Return the node that makes the first input which is not constant."""
    makers = (value.producer() for value in node.inputs if value is not None and constant(value) is None)
    return next((maker for maker in makers if maker is not None), None)


def _always(node: ir.Node) -> bool:
    return True


def _clips_at_zero(node: ir.Node) -> bool:
    """Bounds are attributes until opset 10."""
    bounds = [node.attributes[name].as_float() for name in ("min", "max") if name in node.attributes]
    return 0 in bounds or any(map(_is_zero, node.inputs[1:]))


def _one_is_zero(node: ir.Node) -> bool:
    return any(map(_is_zero, node.inputs))


def _chooses_zero(node: ir.Node) -> bool:
    """Where(x > bound, x, 0), in any order: the condition compares the value that is kept."""
    condition, *choices = node.inputs
    comparison = None if condition is None else condition.producer()
    if comparison is None or comparison.op_type not in _COMPARISONS:
        return False
    kept = [value for value in choices if not _is_zero(value)]
    return len(kept) == 1 and kept[0] in comparison.inputs


def _is_flat(node: ir.Node) -> bool:
    return node.attributes.get_float("alpha", 0.01) == 0


def _fuses_zeros(node: ir.Node) -> bool:
    activation = node.attributes.get_string("activation", "")
    bounds = node.attributes.get_floats("activation_params", [])
    return activation in ("HardSigmoid", "Relu") or (activation == "Clip" and 0 in bounds)


def _is_zero(value: ir.Value | None) -> bool:
    """Integers do not count: they are sizes and positions."""
    array = constant(value)
    return array is not None and array.size == 1 and array.dtype.kind not in "biu" and not array.any()


_RULES: dict[tuple[str, str], Rule] = {
    ("", "Clip"): _clips_at_zero,
    ("", "HardSigmoid"): _always,
    ("", "HardSwish"): _always,
    ("", "LeakyRelu"): _is_flat,
    ("", "Max"): _one_is_zero,
    ("", "Min"): _one_is_zero,
    ("", "Relu"): _always,
    ("", "Shrink"): _always,
    ("", "ThresholdedRelu"): _always,
    ("", "Where"): _chooses_zero,
    ("com.microsoft", "FusedConv"): _fuses_zeros,
    ("com.microsoft", "FusedGemm"): _fuses_zeros,
}
_BENDING = frozenset({("", "LeakyRelu"), ("", "PRelu"), ("com.microsoft", "QLinearLeakyRelu")})
