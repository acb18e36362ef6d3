"""Walking a raw ONNX protobuf: all its graphs, nodes and tensors, wherever they nest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir


def graphs(proto: onnx.ModelProto) -> Iterator[tuple[onnx.GraphProto, int]]:
    """Yield the main graph and every subgraph, those of functions included, with their depth (main: 0)."""
    stack = [(proto.graph, 0)]
    stack += [(g, 1) for function in proto.functions for node in function.node for g in subgraphs(node)]
    while stack:
        graph, depth = stack.pop()
        yield graph, depth
        stack += [(inner, depth + 1) for node in graph.node for inner in subgraphs(node)]


def nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of all graphs and functions."""
    for graph, _ in graphs(proto):
        yield from graph.node
    for function in proto.functions:
        yield from function.node


def tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield all dense tensors: initializers and attributes; those inside sparse tensors are left out."""
    for graph, _ in graphs(proto):
        yield from graph.initializer
    for node in nodes(proto):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def nodes_within(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield the nodes and all those in their subgraphs."""
    stack = [iter(nodes)]
    while stack:
        for node in stack.pop():
            yield node
            stack += [iter(graph.node) for graph in subgraphs(node)]


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs in a node's attributes; those inside them are left out."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def from_model(model: ir.Model) -> onnx.ModelProto:
    """Return the model as a message that mentions the type of each initializer once.

    onnx-ir lists initializers in `value_info` too; a quantized model has hundreds, and grows by some percent.
    """
    import onnx_ir as ir

    proto: onnx.ModelProto = ir.to_proto(model)
    for graph, _ in graphs(proto):
        weights = {tensor.name for tensor in graph.initializer}
        values = [v for v in graph.value_info if v.name not in weights or v.doc_string or v.metadata_props]
        if len(values) < len(graph.value_info):
            del graph.value_info[:]
            graph.value_info.extend(values)
    return proto
