"""Which tensors never change: runtimes compute them once, when they load the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_pare.graph.propagate import RANDOM_OPS

if TYPE_CHECKING:
    import onnx_ir as ir


def constant_values(model: ir.Model) -> frozenset[str]:
    """Return the names of all tensors that depend on no input, for a flattened model.

    These are initializers (an input's default among them), Constant and ConstantOfShape nodes, and what is
    made of such alone. Shapes belong to them if the model fixes all dimensions of its inputs.
    """
    constants = {name for graph in model.graphs() for name in graph.initializers}
    fixed = all(
        value.shape is not None and value.shape.is_static()
        for value in model.graph.inputs
        if value.name not in constants
    )
    for node in model.graph.all_nodes():
        if _is_constant(node, constants, fixed):
            constants.update(value.name for value in node.outputs if value.name)
    return frozenset(constants)


def is_constant_node(node: ir.Node, constants: frozenset[str]) -> bool:
    """Return whether nothing is left of the node when the model runs."""
    made = [value.name for value in node.outputs if value.name]
    return bool(made) and all(name in constants for name in made)


def _is_constant(node: ir.Node, constants: set[str], fixed: bool) -> bool:
    if node.op_type in RANDOM_OPS or any(
        attribute.type in _graph_types() for attribute in node.attributes.values()
    ):
        return False
    if fixed and node.op_type in ("Shape", "Size") and not node.domain:
        return True
    return all(value.name in constants for value in node.inputs if value is not None)


def _graph_types() -> tuple[ir.AttributeType, ...]:
    import onnx_ir as ir

    return (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
