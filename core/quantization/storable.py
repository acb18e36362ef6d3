"""Which tensors are worth storing in few bits: weights of products, and the tables that lookups read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from onnx_pare.cost.constants import constant_values
from onnx_pare.sparsity.prunable import Weight, find, tensor_of

if TYPE_CHECKING:
    import onnx_ir as ir

_PRODUCTS = frozenset({"Conv", "ConvTranspose", "GRU", "Gemm", "LSTM", "MatMul", "RNN"})
# they only move numbers; before a product, they are computed once, as the model loads
_MOVERS = frozenset({"Concat", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})


def storable(model: ir.Model) -> list[Weight]:
    """Return the constant tensors, each once, of all graphs but not of functions.

    These are the weights that `sparsity.prunable` finds, those that reach a product transposed, cut or joined
    (the axis that is summed up is then taken to be the last), and the tables of Gather along axis 0.
    """
    found = {weight.value: weight for weight in find(model)[0]}
    constants = constant_values(model)
    for graph in model.graphs():
        for node in graph:
            for value in (*_table(node), *_moved(node, constants)):
                found.setdefault(value, Weight(value, (node,), -1))
    return list(found.values())


def _table(node: ir.Node) -> Iterator[ir.Value]:
    """Yield the table whose rows a Gather takes."""
    if node.op_type == "Gather" and not node.domain and node.attributes.get_int("axis", 0) == 0:
        yield from _matrices(node)


def _moved(node: ir.Node, constants: frozenset[str]) -> Iterator[ir.Value]:
    """Yield the constants of a moving operator that nothing but products read behind it."""
    if node.op_type in _MOVERS:
        yield from (value for value in _matrices(node) if _feeds_products(value, constants))


def _matrices(node: ir.Node) -> Iterator[ir.Value]:
    for value in node.inputs if node.op_type == "Concat" else node.inputs[:1]:
        tensor = None if value is None else tensor_of(value)
        if value is not None and tensor is not None and len(tensor.shape) > 1:
            yield value


def _feeds_products(value: ir.Value, constants: frozenset[str]) -> bool:
    return (
        bool(value.uses())
        and not value.is_graph_output()
        and all(
            use.node.op_type in _PRODUCTS
            or (
                use.node.op_type in _MOVERS
                and all(
                    made.name in constants and _feeds_products(made, constants) for made in use.node.outputs
                )
            )
            for use in value.uses()
        )
    )
