"""What values always hold although nodes make them: weights that exporters slice and join at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx_pare.graph.edit import constant, inputs_used

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

# operators that only move numbers, which no runtime computes otherwise than another
MOVES = frozenset(
    {"Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose"}
    | {"Unsqueeze"}
)
# what makes numbers such as shapes and paddings besides
MAKES = frozenset({"Cast", "ConstantOfShape"})


class Contents:
    """Looks constants up, and computes what some operators make of them, once.

    By default those that only move numbers.
    """

    def __init__(self, model: ir.Model, operators: frozenset[str] = MOVES) -> None:
        self._opset = model.graph.opset_imports.get("", model.opset_imports.get("", 0))
        self._operators = operators
        self._known: dict[ir.Value, np.ndarray[Any, Any] | None] = {}

    def of(self, value: ir.Value | None) -> np.ndarray[Any, Any] | None:
        """Return what the value always holds, None if inputs or other operators have a part in it."""
        if value is None:
            return None
        if value not in self._known:
            held = constant(value)
            self._known[value] = self._computed(value) if held is None else held
        return self._known[value]

    def _computed(self, value: ir.Value) -> np.ndarray[Any, Any] | None:
        """Compute a value by onnx's reference implementation, one node at a time."""
        import onnx_ir as ir
        from onnx import helper
        from onnx.reference import ReferenceEvaluator

        node = value.producer()
        if node is None or node.domain != "" or node.op_type not in self._operators:
            return None
        feeds = {used.name or "": self.of(used) for used in inputs_used(node)}
        if any(array is None for array in feeds.values()):
            return None
        proto = ir.to_proto(node)
        given = [helper.make_empty_tensor_value_info(name) for name in feeds]
        made_ports = [helper.make_empty_tensor_value_info(output.name or "") for output in node.outputs]
        graph = helper.make_graph([proto], "part", given, made_ports)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self._opset)])
        results: Any = ReferenceEvaluator(model).run(None, feeds)
        made: np.ndarray[Any, Any] = results[list(node.outputs).index(value)]
        return made
