"""What a file says about itself beside its graph, kept when another tool drops it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir


def carry_metadata(source: ir.Model, target: ir.Model) -> None:
    """Give `target` the metadata and doc strings of `source`, dropping what `target` says in their place.

    Model and graph take over all of it. A node takes it from the node of the same operator that made an
    output of the same name, or else had the same name; a value from the value of the same name.
    """
    _carry_model(source, target)
    values = {value.name or "": value for value in _values(source)}
    nodes = {(node.op_type, node.name): node for graph in source.graphs() for node in graph}
    for value in _values(target):
        twin = values.get(value.name or "")
        if twin is not None:
            _copy(twin, value)
    for graph in target.graphs():
        for node in graph:
            made = values.get(node.outputs[0].name or "") if node.outputs else None
            producer = made.producer() if made is not None else None
            if producer is None or producer.op_type != node.op_type:
                producer = nodes.get((node.op_type, node.name))
            if producer is not None:
                node.name = producer.name
                _copy(producer, node)


def _carry_model(source: ir.Model, target: ir.Model) -> None:
    for field in ("producer_name", "producer_version", "domain", "model_version"):
        setattr(target, field, getattr(source, field))
    target.graph.name = source.graph.name
    _copy(source, target)
    _copy(source.graph, target.graph)


def _copy(
    source: ir.Model | ir.Graph | ir.Node | ir.Value, target: ir.Model | ir.Graph | ir.Node | ir.Value
) -> None:
    target.doc_string = source.doc_string
    target.metadata_props.clear()
    target.metadata_props.update(source.metadata_props)


def _values(model: ir.Model) -> Iterator[ir.Value]:
    for graph in model.graphs():
        yield from graph.inputs
        yield from graph.initializers.values()
        for node in graph:
            yield from node.outputs
