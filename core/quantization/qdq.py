"""Writing a placement into the graph: Q/DQ pairs, integer weights and biases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.graph.edit import Names, add_initializer, constant
from onnx_pare.quantization import kernels
from onnx_pare.quantization.affine import (
    Affine,
    Integers,
    activation_affine,
    quantize_activation,
    quantize_bias,
)
from onnx_pare.quantization.forms import FORM_INTEGERS, fixed_affine, write_forms
from onnx_pare.quantization.layers import Layers, Rounded
from onnx_pare.quantization.placement import Placement, outputs

if TYPE_CHECKING:
    import onnx_ir as ir

Array = np.ndarray[Any, Any]


def insert(
    model: ir.Model, placement: Placement, affines: Mapping[ir.Value, Affine], layers: Layers | None = None
) -> None:
    """Rewrite the model's graph in place so that every placed operator reads dequantized tensors.

    Args:
        model: Its opset must be 13 or newer (scales per channel).
        placement: What runs in integers.
        affines: Parameters of each tensor that is an owner in `placement`.
        layers: How weights become integers; by default each is rounded to nearest, with scales per channel.
    """
    from onnx_ir.passes.common import DeduplicateHashedInitializersPass, RemoveUnusedNodesPass

    writer = _Writer(model, placement, affines, layers or Layers())
    writer.write()
    if writer.integers == FORM_INTEGERS:
        write_forms(model, [node for node in model.graph if node in placement.followers])
    RemoveUnusedNodesPass()(model)  # float weights, and the pairs that an integer Pad reads past
    DeduplicateHashedInitializersPass()(model)  # equal zero points, for the most part


class _Writer:
    """Holds what the steps of one rewrite share: names given out, and initializers already made."""

    def __init__(
        self, model: ir.Model, placement: Placement, affines: Mapping[ir.Value, Affine], layers: Layers
    ) -> None:
        self.graph = model.graph
        self.placement = placement
        self.affines = affines
        self.layers = layers
        self.integers = _integers(affines)
        self.names = Names(model)
        self.native = {v for node in model.graph if placement.runs_in_integers(node) for v in outputs(node)}
        weights = Counter(node.inputs[1] for node in placement.axes)
        self.shared = {value for value, readers in weights.items() if readers > 1}
        self._parameters: dict[ir.Value, tuple[ir.Value, ir.Value]] = {}
        self._weights: dict[tuple[Any, ...], ir.Value] = {}

    def write(self) -> None:
        """Quantize weights and constants first (they look at the float tensors), then the activations."""
        for node, axis in self.placement.axes.items():
            self._quantize_weights(node, axis)
        for node in self.placement.followers:
            self._quantize_constants(node)
        pads = [node for node in self.graph if node in self.placement.carriers and node.op_type == "Pad"]
        padded = {node.outputs[0] for node in pads}
        for value in list(self.placement.owner):
            if value not in padded:
                self._quantize(value)
        for node in pads:
            self._pad_integers(node)

    def _integer_type(self) -> ir.TensorType:
        import onnx_ir as ir

        return ir.TensorType(ir.DataType[self.integers.upper()])

    def _affine(self, value: ir.Value) -> Affine:
        owner = self.placement.owner[value]
        fixed = fixed_affine(owner) if self.integers == FORM_INTEGERS else None
        return fixed or self.affines[owner]

    def _scale_and_zero(self, value: ir.Value) -> tuple[ir.Value, ir.Value]:
        owner = self.placement.owner[value]
        if owner not in self._parameters:
            affine = self._affine(value)
            self._parameters[owner] = (
                self._initializer(f"{owner.name}_scale", np.asarray(affine.scale)),
                self._initializer(f"{owner.name}_zero_point", np.asarray(affine.zero_point)),
            )
        return self._parameters[owner]

    def _quantize(self, value: ir.Value) -> None:
        """Put a Q/DQ pair behind a tensor and lead its readers to it.

        If an integer kernel makes the tensor, every reader takes the pair: a float reader of its own would
        keep the runtime from fusing. Else only integer operators do, and the others keep the exact floats.
        """

        scale, zero = self._scale_and_zero(value)
        quantize = self._node("QuantizeLinear", [value, scale, zero], f"{value.name}_quantized")
        dequantize = self._node(
            "DequantizeLinear", [quantize.outputs[0], scale, zero], f"{value.name}_dequantized"
        )
        result = dequantize.outputs[0]
        result.type, result.shape = value.type, value.shape
        quantize.outputs[0].type, quantize.outputs[0].shape = self._integer_type(), value.shape
        for node, index in [(use.node, use.idx) for use in value.uses()]:
            if node is not quantize and (value in self.native or self.placement.runs_in_integers(node)):
                node.replace_input_with(index, result)
        if value.is_graph_output() and value in self.native:
            self._hand_over_output(value, result)
        self._insert_behind(value, [quantize, dequantize])

    def _hand_over_output(self, value: ir.Value, result: ir.Value) -> None:
        """Make `result` the graph output in place of `value`, under its name."""
        for index, output in enumerate(self.graph.outputs):
            if output is value:
                self.graph.outputs[index] = result
        name = value.name
        value.name = self.names.new(f"{name}_float")
        result.name = name

    def _pad_integers(self, node: ir.Node) -> None:
        """Pad uint8 with the zero point; onnxruntime has no rule that would do so for a pair around Pad."""

        value = node.outputs[0]
        scale, zero = self._scale_and_zero(value)
        source = node.inputs[0]
        quantize = source.producer() if source is not None else None
        assert quantize is not None
        node.replace_input_with(0, quantize.inputs[0])
        if "mode" not in node.attributes or node.attributes["mode"].value == "constant":
            node.resize_inputs(max(3, len(node.inputs)))
            node.replace_input_with(2, zero)
        dequantize = self._node("DequantizeLinear", [value, scale, zero], f"{value.name}_dequantized")
        result = dequantize.outputs[0]
        result.type, result.shape = value.type, value.shape
        value.type = self._integer_type()
        for reader, index in [(use.node, use.idx) for use in value.uses()]:
            if reader is not dequantize:
                reader.replace_input_with(index, result)
        if value.is_graph_output():
            self._hand_over_output(value, result)
        self._insert_behind(value, [dequantize])

    def _quantize_weights(self, node: ir.Node, axis: int) -> None:
        weight, source = constant(node.inputs[1]), node.inputs[0]
        assert weight is not None
        assert source is not None
        assert node.inputs[1] is not None
        holder, index = _bias_place(node)
        bias_value = holder.inputs[index] if index < len(holder.inputs) else None
        bias = constant(bias_value)
        input_scale = float(self._affine(source).scale)
        flat = None if bias is None else bias.reshape(-1)
        biased = node.op_type in ("Conv", "Gemm")
        shared = node.inputs[1] in self.shared
        found = self.layers.round(
            node.name or "", weight, flat, axis, input_scale, biased=biased, shared=shared
        )
        node.replace_input_with(1, self._integer_weight(node.inputs[1], found))
        if found.bias is None:
            return
        integers = quantize_bias(found.bias, input_scale, found.scales)
        scales = np.asarray(np.float32(input_scale) * found.scales)
        name = f"{node.name}_bias" if bias_value is None else bias_value.name or "bias"
        if holder is node:
            node.resize_inputs(max(3, len(node.inputs)))
        holder.replace_input_with(
            index, self._dequantized(name, integers, scales, None if found.axis is None else 0)
        )

    def _integer_weight(self, value: ir.Value, found: Rounded) -> ir.Value:
        """Return the dequantized int8 weight, made once for all readers that need the same integers."""
        key = (value, found.axis, found.scales.tobytes(), hash(found.integers.tobytes()))
        if key not in self._weights:
            self._weights[key] = self._dequantized(
                value.name or "weight", found.integers, found.scales, found.axis
            )
        return self._weights[key]

    def _quantize_constants(self, node: ir.Node) -> None:
        """Quantize the constant operands of a follower (x + constant), over their own range."""
        for index, value in enumerate(node.inputs[: kernels.FOLLOWERS[node.op_type]]):
            array = constant(value)
            if value is None or array is None:
                continue
            affine = activation_affine(float(array.min()), float(array.max()), self.integers)
            integers = quantize_activation(array, affine)
            result = self._dequantized(
                value.name or "constant",
                integers,
                np.asarray(affine.scale),
                None,
                np.asarray(affine.zero_point),
            )
            node.replace_input_with(index, result)

    def _dequantized(
        self, name: str, integers: Array, scales: Array, axis: int | None, zero: Array | None = None
    ) -> ir.Value:
        """Add integers as an initializer with a DequantizeLinear behind it, and return its output."""
        import onnx_ir as ir

        if zero is None:
            zero = np.zeros(scales.shape, integers.dtype)
        inputs: list[ir.Value | None] = [
            self._initializer(f"{name}_quantized", integers),
            self._initializer(f"{name}_scale", scales),
            self._initializer(f"{name}_zero_point", zero),
        ]
        attributes = None if axis is None else {"axis": axis}
        node = self._node("DequantizeLinear", inputs, f"{name}_dequantized", attributes)
        node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        node.outputs[0].shape = ir.Shape(integers.shape)
        self._insert_first([node])
        return node.outputs[0]

    def _initializer(self, name: str, array: Array) -> ir.Value:
        return add_initializer(self.graph, self.names.new(name), array)

    def _node(
        self,
        op_type: str,
        inputs: list[ir.Value | None],
        output: str,
        attributes: dict[str, int] | None = None,
    ) -> ir.Node:
        import onnx_ir as ir

        node = ir.node(op_type, inputs, name=self.names.new(f"{output}_{op_type}"), attributes=attributes)
        node.outputs[0].name = self.names.new(output)
        return node

    def _insert_behind(self, value: ir.Value, nodes: list[ir.Node]) -> None:
        producer = value.producer()
        if producer is None:
            self._insert_first(nodes)
        else:
            self.graph.insert_after(producer, nodes)

    def _insert_first(self, nodes: list[ir.Node]) -> None:
        self.graph.insert_before(self.graph[0], nodes)


def _integers(affines: Mapping[ir.Value, Affine]) -> Integers:
    """Return the type that activations are held in."""
    names: set[Any] = {affine.zero_point.dtype.name for affine in affines.values()}
    return next(iter(sorted(names)), "uint8")


def _bias_place(node: ir.Node) -> tuple[ir.Node, int]:
    """Return which input of which node holds an anchor's bias."""
    add = kernels.absorbed_bias(node)
    if add is None:
        return node, 2
    return add, 0 if constant(add.inputs[0]) is not None else 1
