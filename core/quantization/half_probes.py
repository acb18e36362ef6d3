"""Looking at activations inside If, Loop and Scan: their ranges come out as outputs of the model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.graph.edit import Names, add_initializer
from onnx_pare.quantization.half_ranges import NONE_SEEN

if TYPE_CHECKING:
    import onnx_ir as ir

# Where, comparisons of float32, and Scan as it is today
OLDEST_OPSET = 9


def probed(model: ir.Model, values: Iterable[ir.Value]) -> tuple[ir.Model, dict[str, str]]:
    """Return a copy of the model that shows the ranges of values inside its subgraphs, and where.

    Each graph with a probe gets one more output, [largest magnitude, smallest magnitude but zero]; the other
    branch of an If gives an empty one, a Loop or Scan stacks those of its trips.

    Args:
        model: The model, names unique across its subgraphs.
        values: Float32 values of any of its graphs.

    Returns:
        The copy (the model itself if nothing is inside), and for each name of a value the name of the value
        of the main graph that shows it: the value's own name in the main graph.
    """
    inside = [value for value in values if value.graph is not model.graph]
    shown = {value.name or "": value.name or "" for value in values if value.graph is model.graph}
    version = model.graph.opset_imports.get("", model.opset_imports.get("", 0))
    if not inside or version < OLDEST_OPSET:
        return model, shown
    copy = model.clone()
    prober = _Prober(copy)
    for value in inside:
        shown[value.name or ""] = prober.show(value.name or "")
    return copy, shown


class _Prober:
    def __init__(self, model: ir.Model) -> None:
        import onnx_ir as ir

        self.model, self.names = model, Names(model)
        self.owners: dict[ir.Graph, ir.Node] = {}
        self.values: dict[str, ir.Value] = {}
        for graph in model.graphs():
            self.values |= {value.name or "": value for value in graph.inputs}
        for node in model.graph.all_nodes():
            self.values |= {value.name or "": value for value in node.outputs}
            for attribute in node.attributes.values():
                if attribute.type == ir.AttributeType.GRAPH:
                    self.owners[attribute.as_graph()] = node
        self.zero = self._scalar("probe_zero", 0.0)
        self.none = self._scalar("probe_none", NONE_SEEN)
        self.flat = add_initializer(model.graph, self.names.new("probe_flat"), np.array([-1], np.int64))

    def show(self, name: str) -> str:
        """Lead the range of a value out to the main graph; return the name it has there."""
        value = self.values[name]
        graph = value.graph
        while graph is not self.model.graph:
            assert graph is not None
            owner = self.owners[graph]
            graph.outputs.append(self._range(graph, value))
            if owner.op_type == "If":
                self._balance(owner, graph)
            for key in ("scan_output_axes", "scan_output_directions"):
                self._one_more(owner, key)
            owner.resize_outputs(len(owner.outputs) + 1)
            value = owner.outputs[-1]
            self._declare(value)
            graph = value.graph
        return value.name or ""

    def _scalar(self, name: str, number: float) -> ir.Value:
        return add_initializer(self.model.graph, self.names.new(name), np.array([number], np.float32))

    def _declare(self, value: ir.Value) -> None:
        import onnx_ir as ir

        value.name, value.type = self.names.new("probe"), ir.TensorType(ir.DataType.FLOAT)

    def _range(self, graph: ir.Graph, value: ir.Value) -> ir.Value:
        """Return the range of a value, [2]."""

        def add(operator: str, *inputs: ir.Value, **attributes: int) -> ir.Value:
            return self._add(graph, operator, inputs, attributes)

        flat = add("Reshape", add("Abs", value), self.flat)
        finite = add("Where", add("Less", flat, self.none), flat, self.zero)
        positive = add("Where", add("Greater", finite, self.zero), finite, self.none)
        largest = add("ReduceMax", add("Concat", finite, self.zero, axis=0), keepdims=1)
        smallest = add("ReduceMin", add("Concat", positive, self.none, axis=0), keepdims=1)
        return add("Concat", largest, smallest, axis=0)

    def _add(
        self, graph: ir.Graph, operator: str, inputs: Iterable[ir.Value], attributes: dict[str, Any]
    ) -> ir.Value:
        import onnx_ir as ir

        node = ir.node(operator, list(inputs), attributes=attributes, name=self.names.new("probe"))
        self._declare(node.outputs[0])
        if operator in ("Less", "Greater"):
            node.outputs[0].type = ir.TensorType(ir.DataType.BOOL)
        graph.append(node)
        return node.outputs[0]

    def _balance(self, owner: ir.Node, graph: ir.Graph) -> None:
        """Give the other branch of an If an empty output."""
        import onnx_ir as ir

        empty = ir.AttrTensor("value", ir.tensor(np.zeros(0, np.float32)))
        for attribute in owner.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH and attribute.as_graph() is not graph:
                made = self._add(attribute.as_graph(), "Constant", [], {})
                producer = made.producer()
                assert producer is not None
                producer.attributes["value"] = empty
                attribute.as_graph().outputs.append(made)

    def _one_more(self, owner: ir.Node, key: str) -> None:
        import onnx_ir as ir

        if owner.op_type == "Scan" and key in owner.attributes:
            owner.attributes[key] = ir.AttrInt64s(key, [*owner.attributes.get_ints(key), 0])
