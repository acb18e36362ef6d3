"""A model without its large weights: what shape inference needs, and no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

# weights above this size are replaced by a reference without content, so that multi-GB models serialize
WEIGHT_LIMIT_BYTES = 1024


def skeleton(model: ir.Model, inputs: Mapping[str, tuple[int, ...]]) -> onnx.ModelProto:
    """Return the model without its large weights and its recorded shapes, with concrete input shapes."""
    import onnx_ir as ir

    clone = model.clone()
    for value in list(clone.graph.inputs):
        if value.name is not None and value.name in inputs:
            value.shape = ir.Shape(inputs[value.name])
        elif value.name in clone.graph.initializers:
            clone.graph.inputs.remove(value)
    for graph in clone.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None:
                value.const_value = _hollow(value.const_value)
        for node in graph:
            _hollow_attributes(node)
            for value in node.outputs:
                value.shape = None
    return ir.to_proto(clone)


def _hollow(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """Return a tensor of the same type and shape whose content, if large, lies in a file nobody reads."""
    import onnx_ir as ir

    if tensor.nbytes <= WEIGHT_LIMIT_BYTES or tensor.dtype == ir.DataType.STRING:
        return tensor
    shape = ir.Shape(tensor.shape.numpy())
    return ir.ExternalTensor("weights", None, None, tensor.dtype, shape=shape, name=tensor.name or "weight")


def _hollow_attributes(node: ir.Node) -> None:
    import onnx_ir as ir

    for name, attribute in list(node.attributes.items()):
        if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
            tensor = attribute.as_tensor()
            hollow = _hollow(tensor)
            if hollow is not tensor:
                node.attributes[name] = ir.AttrTensor(name, hollow)


def subgraphs(node: onnx.NodeProto) -> dict[str, onnx.GraphProto]:
    """Return a node's subgraphs by attribute name."""
    return {attribute.name: attribute.g for attribute in node.attribute if attribute.HasField("g")}


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield the graph and all those inside of it."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node).values():
            yield from graphs(inner)


def outputs(graph: onnx.GraphProto) -> Iterator[str]:
    """Yield the names of what the graph's own nodes make."""
    return (name for node in graph.node for name in node.output if name)
