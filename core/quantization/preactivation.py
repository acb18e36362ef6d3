"""BatchNormalization before a convolution: as a depthwise convolution it runs in integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_pare.graph.edit import Names, add_initializer, constant
from onnx_pare.quantization import kernels

if TYPE_CHECKING:
    import onnx_ir as ir


def norms_as_convolutions(model: ir.Model) -> int:
    """Turn BatchNormalizations that only Convs read into 1×1 depthwise Convs; return how many (DenseNet's).

        y = g · x + (shift − g · mean)        g = scale / sqrt(variance + epsilon)

    A Relu between the two is absorbed by the integer kernel. Nodes keep their names. Left alone: a norm whose
    parameters are not constant, and one that anything else reads too: it would need the floats as well.
    """
    names = Names(model)
    norms = {node: rank for node in model.graph if (rank := _rank(node)) is not None}
    for node, rank in norms.items():
        _convert(model, node, rank, names)
    return len(norms)


def _rank(node: ir.Node) -> int | None:
    """Return the rank of what a convertible norm makes, which is that of its readers' weights; else None."""
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    if node.op_type != "BatchNormalization" or node.domain or attributes.get("training_mode", 0):
        return None
    parameters = [constant(value) for value in node.inputs[1:5]]
    if any(array is None or array.dtype != "float32" for array in parameters):
        return None
    if any(extra.uses() or extra.is_graph_output() for extra in node.outputs[1:]):
        return None
    result = (kernels.absorbed_activation(node) or node).outputs[0]
    readers = [use.node for use in result.uses()]
    if result.is_graph_output() or not all(_is_layer(reader) for reader in readers):
        return None
    ranks = {weight.ndim for reader in readers if (weight := constant(reader.inputs[1])) is not None}
    return ranks.pop() if len(ranks) == 1 else None


def _is_layer(node: ir.Node) -> bool:
    return node.op_type == "Conv" and kernels.weight_axis(node) is not None


def _convert(model: ir.Model, node: ir.Node, rank: int, names: Names) -> None:
    import numpy as np
    import onnx_ir as ir

    scale, shift, mean, variance = (
        np.asarray(constant(value), dtype=np.float64) for value in node.inputs[1:5]
    )
    gain = scale / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
    weight = gain.reshape(-1, *(1,) * (rank - 1)).astype(np.float32)
    bias = (shift - gain * mean).astype(np.float32)
    inputs = [
        node.inputs[0],
        add_initializer(model.graph, names.new(f"{node.name}_weight"), weight),
        add_initializer(model.graph, names.new(f"{node.name}_bias"), bias),
    ]
    layer = ir.node("Conv", inputs, attributes={"group": len(gain)}, name=node.name)
    old, new = node.outputs[0], layer.outputs[0]
    new.name, new.type, new.shape = old.name, old.type, old.shape
    ir.convenience.replace_nodes_and_values(model.graph, node, [node], [layer], [old], [new])
