"""Shapes that a node is given, and those that a model computes from the shapes of its tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_pare.graph.axes import Axes, Dim, Stop
from onnx_pare.graph.edit import constant

if TYPE_CHECKING:
    import onnx_ir as ir

    Entries = list[int | Dim | None]

# which input of an operator is a shape that its rule looks at
SHAPE_INPUTS = {"Reshape": 1, "Expand": 1, "Resize": 3}
_MOVING = frozenset({"Cast", "Identity", "Squeeze", "Unsqueeze"})


def follow_dims(axes: Axes, node: ir.Node) -> bool:
    """Follow lengths of axes through a node that only moves them; False if the node is none of those.

    Lengths that are computed with, or end where nobody looks at them, keep their axes as they are.
    """
    moved = _moved(axes, node)
    if moved is not None:
        axes.dims[node.outputs[0]] = moved
        return True
    for place, value in enumerate(node.inputs):
        if value is not None and SHAPE_INPUTS.get(node.op_type) != place:
            fix_dims(axes, value, axes.stop("computes with their number"))
    return False


def fix_dims(axes: Axes, value: ir.Value, stop: Stop) -> None:
    """Keep the axes whose lengths a value holds as they are."""
    for entry in axes.dims.get(value, ()):
        if isinstance(entry, Dim):
            axes.fix(axes.of.get((entry.value, entry.axis)), stop)


def _moved(axes: Axes, node: ir.Node) -> Entries | None:
    first = node.inputs[0] if node.inputs else None
    if first is None or node.domain:
        return None
    if node.op_type == "Shape":
        shape = axes.shape(first)
        if shape is None:
            return None
        every: Entries = [Dim(first, axis) for axis in range(len(shape))]
        return every[slice(node.attributes.get_int("start", 0), node.attributes.get_int("end", len(shape)))]
    if node.op_type == "Concat":
        parts = [_entries(axes, value) for value in node.inputs]
        if not any(value in axes.dims for value in node.inputs) or any(part is None for part in parts):
            return None
        return [entry for part in parts for entry in part or ()]
    if first not in axes.dims:
        return None
    return _cut(axes.dims[first], node)


def _cut(entries: Entries, node: ir.Node) -> Entries | None:
    if node.op_type in _MOVING:
        return entries
    given = [constant(value) for value in node.inputs[1:]]
    if node.op_type == "Gather" and given[0] is not None and given[0].ndim <= 1:
        return [entries[int(index)] for index in given[0].reshape(-1)]
    if node.op_type == "Slice" and all(array is not None and array.size == 1 for array in given):
        bounds = [int(array.item()) for array in given if array is not None]
        return entries[slice(*bounds[:2], *bounds[3:])]
    return None


def _entries(axes: Axes, value: ir.Value | None) -> Entries | None:
    if value is None:
        return None
    array = constant(value)
    if array is None:
        return axes.dims.get(value)
    return [int(number) for number in array.reshape(-1)] if array.size < 16 else None


def follow_shape(axes: Axes, node: ir.Node, given: ir.Value | None) -> None:
    """See that a shape which is computed follows when channels go.

    Raises:
        NotUnderstoodError: It may not.
    """
    if given is None or axes.content(given) is not None:
        return
    result = node.outputs[0]
    entries = axes.dims.get(given)
    shape = axes.known(result)
    for axis in range(len(shape)):
        ids = axes.of.get((result, axis))
        entry = entries[axis] if entries is not None else None
        if isinstance(entry, Dim):
            own = axes.of.get((entry.value, entry.axis))
            if own is not None and ids is not None and len(own) == len(ids):
                axes.ties.tie(own, ids)
                continue
            axes.fix(own, "makes a shape of their number")
        if ids is not None and not (entry == -1 or (entry == 0 and node.op_type == "Reshape")):
            axes.fix(ids, "its shape is computed")
