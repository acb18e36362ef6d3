"""Integer forms of operators that onnxruntime has no integer kernel for, or a slow one.

They are written where a Q/DQ pair has been put on either side of the operator, out of operators that do
become integer kernels. Per value, between two convolutions, on one thread of a CPU with AVX512-VNNI:
HardSwish between conversions takes 0.5 ns, as an Add and a Mul 0.3 ns; AveragePool of 2×2 0.6 to 1.1 ns, as
a depthwise convolution less than can be told from the convolutions around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.graph.edit import Names, add_initializer
from onnx_pare.quantization.affine import Affine

if TYPE_CHECKING:
    import onnx_ir as ir

Array = np.ndarray[Any, Any]
# the sums below saturate where this type ends
FORM_INTEGERS = "uint8"
# what holds 0 to 1
UNIT = Affine(np.float32(1 / 255), np.uint8(0))


def write_forms(model: ir.Model, nodes: Iterable[ir.Node]) -> None:
    """Replace the nodes that have a form of their own; they read and make dequantized tensors already."""
    writer = _Writer(model)
    for node in nodes:
        has_form, write = FORMS.get(node.op_type, (None, None))
        if has_form is not None and write is not None and has_form(node):
            writer.replace(node, write(writer, node))


def fixed_affine(value: ir.Value) -> Affine | None:
    """Return the parameters of a tensor whose form prescribes them, whatever its range on the samples."""
    node = value.producer()
    return UNIT if node is not None and node.op_type == "HardSigmoid" and is_gate(node) else None


def is_gate(node: ir.Node) -> bool:
    """Tell whether a HardSigmoid is a sum that saturates: it rises, and something positive is added."""
    alpha, beta = _slope(node)
    return alpha > 0 and beta > 0


def pool_as_convolution(node: ir.Node) -> bool:
    """Tell whether an AveragePool is a convolution with equal weights: no border value counts less.

    The number of channels must be known.
    """
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    padded = any(attributes.get("pads", ())) and not attributes.get("count_include_pad", 0)
    plain = attributes.get("auto_pad", "NOTSET") in ("NOTSET", "VALID") and not attributes.get("ceil_mode", 0)
    return plain and not padded and _channels(node) is not None


def _channels(node: ir.Node) -> int | None:
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    dim = shape[1] if shape is not None and len(shape) > 1 else None
    return dim if isinstance(dim, int) else None


class _Writer:
    """Adds nodes and constants under free names."""

    def __init__(self, model: ir.Model) -> None:
        self.graph = model.graph
        self.names = Names(model)
        self.made: list[ir.Node] = []

    def node(self, op_type: str, inputs: list[ir.Value | None], output: str, **attributes: Any) -> ir.Value:
        import onnx_ir as ir

        node = ir.node(op_type, inputs, attributes=attributes or None, name=self.names.new(f"{output}_node"))
        node.outputs[0].name = self.names.new(output)
        self.made.append(node)
        return node.outputs[0]

    def constant(self, name: str, array: Any) -> ir.Value:
        return add_initializer(self.graph, self.names.new(name), np.asarray(array))

    def dequantized(self, name: str, integers: Array, scale: float) -> ir.Value:
        """Return integers around zero as floats."""
        parameters = [
            self.constant(f"{name}_quantized", integers),
            self.constant(f"{name}_scale", np.float32(scale)),
            self.constant(f"{name}_zero_point", integers.dtype.type(0)),
        ]
        return self.node("DequantizeLinear", [*parameters], f"{name}_dequantized")

    def replace(self, old: ir.Node, result: ir.Value) -> None:
        from onnx_ir.convenience import replace_nodes_and_values

        out = old.outputs[0]
        name, result.type, result.shape = out.name, out.type, out.shape
        out.name = self.names.new(f"{name}_replaced")
        result.name = name
        last = result.producer()
        assert last is not None
        replace_nodes_and_values(self.graph, old, [old], self.made, [out], [result])
        last.name = old.name
        self.made = []


def _hard_sigmoid(writer: _Writer, node: ir.Node) -> ir.Value:
    """The pair behind it has the parameters of `UNIT`; its first half gets those of the sum."""
    alpha, beta = _slope(node)
    for quantize in [use.node for use in node.outputs[0].uses()]:
        quantize.replace_input_with(
            1, writer.constant(f"{node.outputs[0].name}_sum_scale", _sum_scale(alpha))
        )
    return _sum(writer, node, alpha, beta)


def _hard_swish(writer: _Writer, node: ir.Node) -> ir.Value:
    """x · HardSigmoid(x; 1/6, 1/2): https://onnx.ai/onnx/operators/onnx__HardSwish.html."""
    name, alpha = f"{node.outputs[0].name}_gate", 1 / 6
    total = _sum(writer, node, alpha, 0.5)
    zero = writer.constant(f"{name}_zero_point", UNIT.zero_point)
    scale = writer.constant(f"{name}_sum_scale", _sum_scale(alpha))
    integers = writer.node("QuantizeLinear", [total, scale, zero], f"{name}_quantized")
    scale = writer.constant(f"{name}_scale", UNIT.scale)
    gate = writer.node("DequantizeLinear", [integers, scale, zero], f"{name}_dequantized")
    return writer.node("Mul", [node.inputs[0], gate], f"{node.outputs[0].name}_product")


def _sum(writer: _Writer, node: ir.Node, alpha: float, beta: float) -> ir.Value:
    """Half of a hard sigmoid: Clip(alpha · x + beta, 0, 1) = alpha · Clip(x + beta / alpha, 0, 1 / alpha).

    The sum saturates where uint8 ends if it is quantized with the scale 1 / (255 · alpha) and no zero point;
    read with the scale 1 / 255, these integers are the hard sigmoid.
    """
    name = f"{node.outputs[0].name}_shift"
    shift = writer.dequantized(name, np.full((), 255, np.uint8), beta / alpha / 255)
    return writer.node("Add", [node.inputs[0], shift], f"{node.outputs[0].name}_sum")


def _sum_scale(alpha: float) -> Any:
    return np.float32(1.0 / (255.0 * alpha))


def _slope(node: ir.Node) -> tuple[float, float]:
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    return float(attributes.get("alpha", 0.2)), float(attributes.get("beta", 0.5))


def _average_pool(writer: _Writer, node: ir.Node) -> ir.Value:
    """A depthwise convolution whose weights are all 1 / (size of the kernel), exact as integers of 1."""
    kernel = tuple(node.attributes.get_ints("kernel_shape", ()) or ())
    channels = _channels(node)
    assert channels is not None
    name = f"{node.outputs[0].name}_weight"
    weight = writer.dequantized(name, np.ones((channels, 1, *kernel), np.int8), 1 / np.prod(kernel))
    kept = {key: node.attributes[key].value for key in ("strides", "pads") if key in node.attributes}
    return writer.node(
        "Conv", [node.inputs[0], weight], f"{node.outputs[0].name}_pooled", group=channels, **kept
    )


FORMS: dict[str, tuple[Callable[[ir.Node], bool], Callable[[_Writer, ir.Node], ir.Value]]] = {
    "AveragePool": (pool_as_convolution, _average_pool),
    "HardSigmoid": (is_gate, _hard_sigmoid),
    "HardSwish": (lambda node: True, _hard_swish),
}
