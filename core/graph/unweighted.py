"""A model without its large weights, for onnx's C++ side, which only takes serialized copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

LARGE_BYTES = 1024


def unweighted(model: ir.Model) -> onnx.ModelProto:
    """Serialize the model with all initializers of the main graph as inputs, the large ones without content.

    The model is as before afterwards.
    """
    import onnx_ir as ir

    graph = model.graph
    fed = len(graph.inputs)
    held = {name: (value, value.const_value) for name, value in graph.initializers.items()}
    try:
        for name, (value, tensor) in held.items():
            _describe(value, tensor)
            if not value.is_graph_input():
                graph.inputs.append(value)
            if tensor is None or tensor.nbytes > LARGE_BYTES:
                value.const_value = None
                graph.initializers.pop(name)
            elif isinstance(tensor, ir.ExternalTensor):
                value.const_value = ir.Tensor(tensor.numpy().copy(), dtype=tensor.dtype, name=name)
        return ir.to_proto(model)
    finally:
        while len(graph.inputs) > fed:
            graph.inputs.pop()  # `del` would leave the values marked as inputs
        graph.initializers.clear()
        for value, tensor in held.values():
            value.const_value = tensor
            graph.initializers.add(value)


def _describe(value: ir.Value, tensor: ir.TensorProtocol | None) -> None:
    import onnx_ir as ir

    if tensor is None:
        return
    if value.shape is None:
        value.shape = ir.Shape(tensor.shape.numpy())
    if value.dtype is None:
        value.dtype = tensor.dtype
