"""Attention masks: numbers far beyond half precision that only mean "not this one"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_pare.graph.edit import Names, add_initializer, constant

if TYPE_CHECKING:
    import onnx_ir as ir

# exp(-16384) is 0; three such masks and a score still add up within the range of halves
MASK = -16384.0
# operators that hand a mask on: what is masked before is masked behind
_CARRIERS = frozenset(
    {
        *("Add", "Where", "Mul", "Div", "Concat", "Identity", "Reshape", "Transpose", "Expand", "Tile"),
        *("Unsqueeze", "Squeeze", "Flatten", "Slice", "Gather", "Split"),
    }
)


def soften_masks(model: ir.Model) -> int:
    """Raise constants below -16384 to that where they only reach Softmax, in place; return how many.

    With -1e9 or the lowest float32 in a mask, halves become -inf, and a row that is masked altogether NaN.
    Infinities stay: they are the same in half.
    """
    names, count = Names(model), 0
    harmless = _only_softmax_reads(model)
    for node in list(model.graph.all_nodes()):
        if node.domain != "" or node.op_type not in _CARRIERS or node.outputs[0] not in harmless:
            continue
        for index, value in enumerate(node.inputs):
            count += value is not None and _soften(model.graph, node, index, value, names)
    return count


def _only_softmax_reads(model: ir.Model) -> set[ir.Value]:
    """Return the values that reach nothing but the data of Softmax, through `_CARRIERS`."""
    found: set[ir.Value] = set()
    for node in reversed(list(model.graph.all_nodes())):
        for value in node.outputs:
            uses = value.uses()
            if uses and not value.is_graph_output() and all(_harmless(use.node, found) for use in uses):
                found.add(value)
    return found


def _harmless(reader: ir.Node, found: set[ir.Value]) -> bool:
    if reader.domain != "":
        return False
    carried = reader.op_type in _CARRIERS and all(value in found for value in reader.outputs)
    return reader.op_type == "Softmax" or carried


def _soften(graph: ir.Graph, node: ir.Node, index: int, value: ir.Value, names: Names) -> bool:
    import numpy as np

    array = constant(value)
    if array is None or array.dtype != np.float32:
        return False
    masks = np.isfinite(array) & (array < MASK)
    if not masks.any():
        return False
    soft = add_initializer(
        graph, names.new(f"{value.name}_mask"), np.where(masks, np.float32(MASK), array).astype(np.float32)
    )
    node.replace_input_with(index, soft)
    return True
