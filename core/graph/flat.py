"""The graph that is counted: functions inlined, every value name used once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir


def flattened(model: ir.Model) -> ir.Model:
    """Return the model with its local functions inlined and value names unique across subgraphs.

    Branches of one If may name their values alike; here the second gets a suffix. A model that is flat
    already is returned as it is, else a changed clone (weights shared). Equal models give equal names.
    """
    if not model.functions and not _repeated(model):
        return model
    from onnx_ir.passes.common import InlinePass

    flat = model.clone()
    if flat.functions:
        flat = InlinePass()(flat).model
    for value, name in _repeated(flat):
        value.name = name
    return flat


def _repeated(model: ir.Model) -> list[tuple[ir.Value, str]]:
    """Return the values whose name an earlier one has, each with a free name."""
    from onnx_pare.graph.edit import Names

    graphs = list(model.graphs())
    if len(graphs) == 1:
        return []
    seen: set[str] = set()
    repeated = []
    for graph in graphs:
        for value in _defined(graph):
            if value.name in seen:
                repeated.append(value)
            elif value.name:
                seen.add(value.name)
    if not repeated:
        return []
    names = Names(model)
    return [(value, names.new(value.name or "value")) for value in repeated]


def _defined(graph: ir.Graph) -> list[ir.Value]:
    inputs = list(graph.inputs)
    known = {id(value) for value in inputs}
    initializers = [value for value in graph.initializers.values() if id(value) not in known]
    return inputs + initializers + [value for node in graph for value in node.outputs if value.name]
