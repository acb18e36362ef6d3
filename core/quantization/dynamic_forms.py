"""What nodes become under dynamic quantization.

A product y = x · W + b becomes, with the operators of ONNX opset 11,

    x_q, s_x, z_x = DynamicQuantizeLinear(x)
    y = float(MatMulInteger(x_q, W_q, z_x, 0)) · (s_x · s_W) + b

which onnxruntime fuses into one DynamicQuantizeMatMul. LSTM and Attention become onnxruntime's
DynamicQuantizeLSTM and QAttention
(https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md). GRU and RNN have no integer
kernel: they compute as before, on float(W_q) · s_W, which onnxruntime computes once, as it loads the model.
Weights are int8 around zero: the fastest kernels, and all that DynamicQuantizeLSTM takes per channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.graph.edit import Names, add_initializer, take_over
from onnx_pare.quantization.affine import quantize_weight, weight_scales
from onnx_pare.quantization.kernels import weight_axis

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.computed import Contents

Array = np.ndarray[Any, Any]
CONTRIB = "com.microsoft"
# those of Attention that QAttention has too
ATTENTION_ATTRIBUTES = frozenset({"num_heads", "unidirectional", "scale", "mask_filter_value"})


class Writer:
    """Puts new nodes before old ones; quantizes an activation once per graph, and a weight once."""

    def __init__(self, model: ir.Model, contents: Contents, per_channel: bool) -> None:
        self.per_channel = per_channel
        self._model = model
        self._contents = contents
        self._names = Names(model)
        self._activations: dict[tuple[Any, ir.Value], tuple[ir.Value, ...]] = {}
        self._weights: dict[tuple[ir.Value, str], tuple[ir.Value, ...]] = {}

    def add(
        self,
        old: ir.Node,
        op: str,
        inputs: Sequence[ir.Value | None],
        outputs: int = 1,
        domain: str = "",
        attributes: dict[str, Any] | None = None,
    ) -> tuple[ir.Value, ...]:
        """Put a node before `old`, and return what it makes."""
        import onnx_ir as ir

        name = self._names.new(f"{old.name}_{op}")
        new = ir.node(op, inputs, domain=domain, attributes=attributes, num_outputs=outputs, name=name)
        for value in new.outputs:
            value.name = self._names.new(f"{name}_output")
        assert isinstance(old.graph, ir.Graph)
        old.graph.insert_before(old, new)
        return tuple(new.outputs)

    def replace(self, old: ir.Node, results: Sequence[ir.Value]) -> None:
        """Let results stand for the outputs of `old`, which goes."""
        assert old.graph is not None
        for value, result in zip(old.outputs, results, strict=True):
            take_over(value, result)
        old.graph.remove(old, safe=True)

    def activation(self, node: ir.Node) -> tuple[ir.Value, ...]:
        """Return the integers, scale and zero point of a node's first input, made at run time."""
        source = node.inputs[0]
        assert source is not None
        key = (node.graph, source)
        if key not in self._activations:
            self._activations[key] = self.add(node, "DynamicQuantizeLinear", [source], 3)
        return self._activations[key]

    def matrix(self, node: ir.Node, axis: int) -> tuple[ir.Value, ...]:
        """Return the integers of a matrix with its columns last, their scales and zero points.

        Args:
            node: Its second input is the matrix, its output channels on `axis`.
            axis: 0 or 1.
        """
        weight = self._weight(node, 1)
        columns = np.ascontiguousarray(weight.T if axis == 0 else weight)
        channels = 1 if self.per_channel else None
        scales = weight_scales(columns, channels, None, 1.0)
        return self._store(node, 1, f"columns {axis}", quantize_weight(columns, scales, channels), scales)

    def gates(self, node: ir.Node, place: int, *, transposed: bool) -> tuple[ir.Value, ...]:
        """Return the integers of a recurrent net's weight, their scales and zero points.

        Args:
            node: Its input `place` has the shape (directions, gates · hidden, size).
            place: 1 for W, 2 for R.
            transposed: Integers as (directions, size, gates · hidden) and scales as (directions, gates ·
                hidden), or (directions,) for one per direction; else the input's shape, and scales of three
                dimensions that can be multiplied to it.
        """
        weight = self._weight(node, place)
        directions, channels, _ = weight.shape
        rows = weight.reshape(directions * (channels if self.per_channel else 1), -1)
        scales = weight_scales(rows, 0, None, 1.0)
        integers = quantize_weight(rows, scales, 0).reshape(weight.shape)
        if transposed:
            integers = np.ascontiguousarray(integers.transpose(0, 2, 1))
            scales = scales.reshape((directions, channels) if self.per_channel else (directions,))
        else:
            scales = scales.reshape(directions, -1, 1)
        return self._store(node, place, f"gates {transposed}", integers, scales)

    def zeros(self, node: ir.Node) -> ir.Value:
        """Return zeros for the columns of a node's matrix, where a kernel insists on a bias."""
        columns = self._weight(node, 1).shape[1]
        return self._initializer(f"{node.name}_bias", np.zeros(columns, np.float32))

    def _weight(self, node: ir.Node, place: int) -> Array:
        weight = self._contents.of(node.inputs[place])
        assert weight is not None
        return weight

    def _store(
        self, node: ir.Node, place: int, layout: str, integers: Array, scales: Array
    ) -> tuple[ir.Value, ...]:
        value = node.inputs[place]
        assert value is not None
        key = (value, layout)
        if key not in self._weights:
            self._weights[key] = (
                self._initializer(f"{value.name}_quantized", integers),
                self._initializer(f"{value.name}_scale", scales),
                self._initializer(f"{value.name}_zero_point", np.zeros(scales.shape, np.int8)),
            )
        return self._weights[key]

    def _initializer(self, name: str, array: Array) -> ir.Value:
        return add_initializer(self._model.graph, self._names.new(name), array)


def product(writer: Writer, node: ir.Node) -> None:
    """Replace a MatMul or Gemm."""
    import onnx_ir as ir

    axis = weight_axis(node)
    assert axis is not None
    integers, input_scale, input_zero = writer.activation(node)
    weight, weight_scale, _ = writer.matrix(node, axis)
    (product,) = writer.add(node, "MatMulInteger", [integers, weight, input_zero])
    (number,) = writer.add(node, "Cast", [product], attributes={"to": int(ir.DataType.FLOAT)})
    (scale,) = writer.add(node, "Mul", [input_scale, weight_scale])
    (result,) = writer.add(node, "Mul", [number, scale])
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        (result,) = writer.add(node, "Add", [result, node.inputs[2]])
    writer.replace(node, [result])


def lstm(writer: Writer, node: ir.Node) -> None:
    """Replace an LSTM, in any direction, with or without initial states, peepholes and sequence lengths."""
    w, w_scale, w_zero = writer.gates(node, 1, transposed=True)
    r, r_scale, r_zero = writer.gates(node, 2, transposed=True)
    optional = [*node.inputs[3:], None, None, None, None, None][:5]
    inputs = [node.inputs[0], w, r, *optional, w_scale, w_zero, r_scale, r_zero]
    attributes = {name: value for name, value in node.attributes.items() if name != "layout"}
    writer.replace(
        node, writer.add(node, "DynamicQuantizeLSTM", inputs, len(node.outputs), CONTRIB, attributes)
    )


def stored(writer: Writer, node: ir.Node) -> None:
    """Store the weights of a GRU or RNN as int8; it goes on computing in float."""
    import onnx_ir as ir

    for place in (1, 2):
        integers, scales, _ = writer.gates(node, place, transposed=False)
        (number,) = writer.add(node, "Cast", [integers], attributes={"to": int(ir.DataType.FLOAT)})
        (weight,) = writer.add(node, "Mul", [number, scales])
        node.replace_input_with(place, weight)


def attention(writer: Writer, node: ir.Node) -> None:
    """Replace onnxruntime's Attention, which holds the weights of query, key and value in one matrix."""
    integers, input_scale, input_zero = writer.activation(node)
    weight, weight_scale, weight_zero = writer.matrix(node, 1)
    bias, mask, past = [*node.inputs[2:], None, None, None][:3]
    if bias is None:
        bias = writer.zeros(node)
    inputs = [integers, weight, bias, input_scale, weight_scale, mask, input_zero, weight_zero, past]
    attributes = {name: node.attributes[name] for name in node.attributes if name in ATTENTION_ATTRIBUTES}
    writer.replace(node, writer.add(node, "QAttention", inputs, len(node.outputs), CONTRIB, attributes))
