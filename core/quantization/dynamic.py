"""Dynamic int8: activations are quantized while the model runs, so that no calibration is needed.

y = x · W becomes, with the operators of ONNX opset 11,

    x_q, s_x, z_x = DynamicQuantizeLinear(x)
    y = float(MatMulInteger(x_q, W_q, z_x, 0)) · (s_x · s_W) + bias

which onnxruntime fuses into one DynamicQuantizeMatMul.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.graph.edit import Names, add_initializer, constant
from onnx_pare.quantization.affine import quantize_weight, weight_scales
from onnx_pare.quantization.kernels import weight_axis

if TYPE_CHECKING:
    import onnx_ir as ir

Array = np.ndarray[Any, Any]


def candidates(graph: ir.Graph, skipped: set[ir.Node]) -> list[ir.Node]:
    """Return the Gemm and MatMul nodes with constant weights that are not skipped, in order."""
    kinds = ("Gemm", "MatMul")
    return [n for n in graph if n.op_type in kinds and n not in skipped and weight_axis(n) is not None]


def quantize_dynamic(model: ir.Model, nodes: list[ir.Node], *, per_channel: bool) -> None:
    """Replace each node by its dynamically quantized form, in place.

    An activation that several nodes read is quantized once.
    """
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    names = Names(model)
    quantized: dict[ir.Value, tuple[ir.Value, ...]] = {}
    for node in nodes:
        _replace(model.graph, node, names, quantized, per_channel)
    RemoveUnusedNodesPass()(model)  # float weights


def _replace(
    graph: ir.Graph,
    node: ir.Node,
    names: Names,
    quantized: dict[ir.Value, tuple[ir.Value, ...]],
    per_channel: bool,
) -> None:
    import onnx_ir as ir

    source, weight_value = node.inputs[0], node.inputs[1]
    weight, axis = constant(weight_value), weight_axis(node)
    assert source is not None
    assert weight_value is not None
    assert weight is not None
    made: list[ir.Node] = []

    def add(
        op: str, inputs: list[ir.Value | None], outputs: int = 1, **attributes: int
    ) -> tuple[ir.Value, ...]:
        new = ir.node(
            op,
            inputs,
            attributes=attributes or None,
            num_outputs=outputs,
            name=names.new(f"{node.name}_{op}"),
        )
        for value in new.outputs:
            value.name = names.new(f"{new.name}_output")
        made.append(new)
        return tuple(new.outputs)

    if source not in quantized:
        quantized[source] = add("DynamicQuantizeLinear", [source], 3)
    integers, input_scale, input_zero = quantized[source]
    columns = weight.T if axis == 0 else weight
    scales = weight_scales(columns, 1 if per_channel else None, None, 1.0)
    stored = quantize_weight(columns, scales, 1 if per_channel else None)
    weight_integers = add_initializer(graph, names.new(f"{weight_value.name}_quantized"), stored)
    weight_scale = add_initializer(graph, names.new(f"{weight_value.name}_scale"), scales)
    (product,) = add("MatMulInteger", [integers, weight_integers, input_zero])
    (number,) = add("Cast", [product], to=int(ir.DataType.FLOAT))
    (scale,) = add("Mul", [input_scale, weight_scale])
    (result,) = add("Mul", [number, scale])
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        (result,) = add("Add", [result, node.inputs[2]])
    graph.insert_before(node, made)
    old = node.outputs[0]
    result.type, result.shape = old.type, old.shape
    ir.convenience.replace_all_uses_with(old, result, replace_graph_outputs=True)
    result.name = old.name
    graph.remove(node, safe=True)
