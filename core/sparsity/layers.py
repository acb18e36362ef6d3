"""Layers whose weights can be fitted: y = W·x + b, whatever ONNX operator writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.calibration.window import Window
from onnx_pare.graph.edit import add_initializer, constant, set_constant

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.edit import Names

Array = np.ndarray[Any, Any]
FITTED_OPS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class Layer:
    """A Conv, Gemm or MatMul with a constant float32 weight of its own.

    Attributes:
        node: The node.
        window: Where it looks.
        transposed: Whether the weight is stored as (inputs, outputs).
    """

    node: ir.Node
    window: Window
    transposed: bool

    @property
    def source(self) -> ir.Value:
        """What it reads."""
        value = self.node.inputs[0]
        assert value is not None
        return value

    @property
    def result(self) -> ir.Value:
        """What it makes."""
        return self.node.outputs[0]

    @property
    def takes_bias(self) -> bool:
        """Whether it can have a bias: MatMul cannot."""
        return self.node.op_type != "MatMul"

    def weight(self) -> Array:
        """Return the weight as it is stored; may be a read-only view of a mapped file."""
        array = constant(self.node.inputs[1])
        assert array is not None
        return array

    def rows(self) -> Array:
        """Return the weight with a row for each output, shape (groups, outputs of a group, inputs)."""
        weight, groups = self.weight(), self.window.groups
        if self.transposed:
            return np.asarray(weight.T[None])
        return weight.reshape(groups, len(weight) // groups, -1)

    def put(self, rows: Array, bias: Array | None, names: Names) -> None:
        """Replace the weight, and the bias where one is given.

        Args:
            rows: Shape (groups, outputs of a group, inputs), or without groups (outputs, inputs).
            bias: Shape (groups, outputs of a group).
            names: Gives the name of a bias that the layer does not have yet.
        """
        value = self.node.inputs[1]
        assert value is not None
        weight = self.weight()
        stored = rows.reshape(-1, rows.shape[-1]).T if self.transposed else rows.reshape(weight.shape)
        set_constant(value, np.ascontiguousarray(stored, weight.dtype))
        if bias is not None:
            self._put_bias(bias.reshape(-1).astype(weight.dtype), names)

    def _put_bias(self, bias: Array, names: Names) -> None:
        graph = self.node.graph
        assert graph is not None
        value = self.node.inputs[2] if len(self.node.inputs) > 2 else None
        if value is not None and len(value.uses()) == 1:
            set_constant(value, bias)
            value.shape = type(value.shape)(bias.shape) if value.shape is not None else None
            return
        self.node.resize_inputs(3)
        self.node.replace_input_with(2, add_initializer(graph, names.new(f"{self.node.name}_bias"), bias))


def layer_of(node: ir.Node) -> Layer | None:
    """Return a node as a layer, None if its weights cannot be fitted.

    Left out are weights that are not constant, not float32, or read elsewhere too; Gemm that scales or
    transposes its input; and a bias that is computed or differs between rows.
    """
    if node.domain != "" or node.op_type not in FITTED_OPS or node.inputs[0] is None:
        return None
    value = node.inputs[1]
    weight = constant(value)
    if value is None or weight is None or weight.dtype != np.float32 or len(value.uses()) != 1:
        return None
    if node.op_type == "Conv":
        return (
            Layer(node, Window.of(node, weight.shape), False) if _has_plain_bias(node, len(weight)) else None
        )
    if weight.ndim != 2 or constant(node.inputs[0]) is not None:
        return None
    transposed = not node.attributes.get_int("transB", 0)
    outputs = weight.shape[1 if transposed else 0]
    plain = node.op_type == "MatMul" or (_scales_nothing(node) and _has_plain_bias(node, outputs))
    return Layer(node, Window(), transposed) if plain else None


def _scales_nothing(node: ir.Node) -> bool:
    scales = {node.attributes.get_float(name, 1.0) for name in ("alpha", "beta")}
    return scales == {1.0} and not node.attributes.get_int("transA", 0)


def _has_plain_bias(node: ir.Node, outputs: int) -> bool:
    """Tell whether there is no bias, or a constant one with a number for each output."""
    value = node.inputs[2] if len(node.inputs) > 2 else None
    if value is None:
        return True
    bias = constant(value)
    return bias is not None and bias.size == outputs == bias.shape[-1]
