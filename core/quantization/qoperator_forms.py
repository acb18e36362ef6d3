"""The integer form of each operator, in onnxruntime's signatures.

QLinearConv and QLinearMatMul are of ONNX; the others of onnxruntime
(https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_pare.graph.edit import constant

if TYPE_CHECKING:
    import onnx_ir as ir

CONTRIB = "com.microsoft"
EIGHT_BITS = ("int8", "uint8")


@dataclass(frozen=True)
class Quantized:
    """A tensor of integers with its parameters; `axis` is where the scales lie, None for one scale."""

    integers: ir.Value
    scale: ir.Value
    zero: ir.Value
    axis: int | None

    def kind(self) -> str:
        """Return the type of the integers."""
        zero = constant(self.zero)
        return "" if zero is None else str(zero.dtype.name)

    def inputs(self) -> list[ir.Value | None]:
        """Return the three inputs that integer operators take of each tensor."""
        return [self.integers, self.scale, self.zero]


@dataclass(frozen=True)
class Site:
    """An operator between pairs, and what follows it, if any: a bias, a Relu or Clip, a QuantizeLinear.

    `rank` is the number of dimensions of its first input, None if unknown.
    """

    node: ir.Node
    rank: int | None
    bias: ir.Node | None
    activation: ir.Node | None
    quantize: ir.Node | None

    def sources(self) -> list[Quantized | None]:
        """Return what the inputs of the operator were dequantized from."""
        return [dequantized(value) for value in self.node.inputs]

    def output(self) -> list[ir.Value | None] | None:
        """Return scale and zero point of the result, None if floats leave.

        They do too if they first pass a Relu or Clip that does something, or become integers of another type
        than those that came in: no kernel does that.
        """
        if self.quantize is None or not _is_clipped_by(self.quantize, self.activation):
            return None
        came, leave = self.sources()[0], constant(self.quantize.inputs[2])
        if came is None or leave is None or came.kind() != leave.dtype.name or came.kind() not in EIGHT_BITS:
            return None
        return list(self.quantize.inputs[1:3])


@dataclass(frozen=True)
class Made:
    """An operator to put in the place of others; the last of `replaces` made the result."""

    op_type: str
    domain: str
    inputs: Sequence[ir.Value | None]
    replaces: tuple[ir.Node | None, ...]
    attributes: dict[str, ir.Attr] | None = None


def dequantized(value: ir.Value | None) -> Quantized | None:
    """Return what a value was dequantized from, by constant scales; None if it was not."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "DequantizeLinear" or node.domain != "":
        return None
    if len(node.inputs) < 3 or node.attributes.get_int("block_size", 0) > 0:
        return None
    integers, scale, zero = node.inputs[:3]
    scales = constant(scale)
    if integers is None or scale is None or zero is None or scales is None:
        return None
    axis = node.attributes.get_int("axis", 1)
    return Quantized(integers, scale, zero, axis if scales.ndim else None)


def same_parameters(source: Quantized, quantize: ir.Node) -> bool:
    """Tell whether a QuantizeLinear makes the integers that the source holds, of the same type."""
    if len(quantize.inputs) < 3 or source.axis is not None:
        return False
    pairs = zip((source.scale, source.zero), quantize.inputs[1:3], strict=True)
    return all(_equal(constant(a), constant(b)) for a, b in pairs)


def _equal(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return a is not None and b is not None and a.dtype == b.dtype and np.array_equal(a, b)


def _is_clipped_by(quantize: ir.Node, activation: ir.Node | None) -> bool:
    """Tell whether the integers' own range does the work of a Relu or Clip from zero before them.

    It does if zero is the lowest integer and the upper bound rounds to the highest, or beyond it.
    """
    if len(quantize.inputs) < 3:
        return False
    scale, zero = constant(quantize.inputs[1]), constant(quantize.inputs[2])
    if scale is None or zero is None or scale.size != 1 or zero.dtype.kind not in "iu":
        return False
    if activation is None:
        return True
    limits = np.iinfo(zero.dtype)
    highest = constant(activation.inputs[2]) if len(activation.inputs) > 2 else None
    if len(activation.inputs) > 2 and activation.inputs[2] is not None and highest is None:
        return False
    reached = (
        highest is None or round(float(highest.item()) / float(scale.item())) + int(zero.item()) >= limits.max
    )
    return int(zero.item()) == limits.min and reached


def _attributes(node: ir.Node, known: frozenset[str]) -> dict[str, ir.Attr] | None:
    """Return the node's attributes, None if one is unknown to the integer operator."""
    return dict(node.attributes) if set(node.attributes) <= known else None


def _anchor(site: Site, axis: int) -> tuple[Quantized, Quantized, ir.Value | None] | None:
    """Return input, weight and int32 bias of an anchor; None if an integer kernel cannot take them.

    Args:
        site: The anchor.
        axis: Where the output channels of the weight lie.
    """
    source, weight = site.sources()[:2]
    if source is None or weight is None or source.axis is not None or weight.axis not in (None, axis):
        return None
    if not {source.kind(), weight.kind()} <= set(EIGHT_BITS):
        return None
    value = site.node.inputs[2] if len(site.node.inputs) > 2 else None
    if site.bias is not None:
        value = next((v for v in site.bias.inputs if v is not site.node.outputs[0]), None)
    if value is None:
        return source, weight, None
    bias = dequantized(value)
    if bias is None or not _fits(bias, source, weight):
        return None
    return source, weight, bias.integers


def _fits(bias: Quantized, source: Quantized, weight: Quantized) -> bool:
    """Tell whether a bias counts in steps of the product, scale input · scale weight."""
    step, a, b, zero = (constant(v) for v in (bias.scale, source.scale, weight.scale, bias.zero))
    if step is None or a is None or b is None or zero is None or zero.dtype != np.int32 or zero.any():
        return False
    return step.size in (1, b.size) and bool(np.allclose(step, a * b, rtol=1e-5, atol=0))


def _conv(site: Site) -> Made | None:
    taken, output = _anchor(site, 0), site.output()
    if taken is None or output is None:
        return None
    source, weight, bias = taken
    inputs = [*source.inputs(), *weight.inputs(), *output, *([bias] if bias is not None else [])]
    replaces = (site.node, site.activation, site.quantize)
    return Made("QLinearConv", "", inputs, replaces, dict(site.node.attributes))


def _gemm(site: Site) -> Made | None:
    attributes = {name: attribute.value for name, attribute in site.node.attributes.items()}
    transposed = attributes.pop("transB", 0)
    plain = {"alpha": 1.0, "beta": 1.0, "transA": 0}
    if any(value != plain.get(name) for name, value in attributes.items()):
        return None
    return _qgemm(site, 0 if transposed else 1)


def _qgemm(site: Site, axis: int) -> Made | None:
    """Return a QGemm; it makes floats where it is given no parameters of its result."""
    import onnx_ir as ir

    taken, output = _anchor(site, axis), site.output()
    if taken is None:
        return None
    source, weight, bias = taken
    inputs = [*source.inputs(), *weight.inputs(), bias, *(output or [])]
    replaces = (site.node, site.bias, *((site.activation, site.quantize) if output else ()))
    return Made("QGemm", CONTRIB, inputs, replaces, {"transB": ir.AttrInt64("transB", 1 - axis)})


def _matmul(site: Site) -> Made | None:
    """Return QLinearMatMul without a bias, QGemm for matrices, else MatMulIntegerToFloat: floats leave it."""
    taken, output = _anchor(site, 1), site.output()
    if taken is None:
        return None
    source, weight, _ = taken
    if site.bias is not None and site.rank == 2:
        return _qgemm(site, 1)
    if site.bias is None and output is not None:
        inputs = [*source.inputs(), *weight.inputs(), *output]
        return Made("QLinearMatMul", "", inputs, (site.node, site.activation, site.quantize))
    inputs = [source.integers, weight.integers, source.scale, weight.scale, source.zero, weight.zero]
    if site.bias is not None:
        inputs += [value for value in site.bias.inputs if value is not site.node.outputs[0]]
    return Made("MatMulIntegerToFloat", CONTRIB, inputs, (site.node, site.bias))


def _follower(op_type: str, *attributes: str, output_first: bool = False) -> Callable[[Site], Made | None]:
    """Return the rule of an operator whose integer form takes three inputs for each of its own."""
    known = frozenset(attributes)

    def form(site: Site) -> Made | None:
        output, kept = site.output(), _attributes(site.node, known)
        sources = [source for source in site.sources() if source is not None and source.axis is None]
        if output is None or kept is None or len(sources) != len(site.node.inputs):
            return None
        if len({source.kind() for source in sources}) != 1:
            return None
        given = [value for source in sources for value in source.inputs()]
        inputs = [*output, *given] if output_first else [*given, *output]
        return Made(op_type, CONTRIB, inputs, (site.node, site.activation, site.quantize), kept)

    return form


POOLING = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")
FORMS: dict[str, Callable[[Site], Made | None]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _follower("QLinearAdd"),
    "Mul": _follower("QLinearMul"),
    "Concat": _follower("QLinearConcat", "axis", output_first=True),
    "AveragePool": _follower("QLinearAveragePool", *POOLING),
    "GlobalAveragePool": _follower("QLinearGlobalAveragePool"),
    "LeakyRelu": _follower("QLinearLeakyRelu", "alpha"),
    "Sigmoid": _follower("QLinearSigmoid"),
}
