"""How channels pass through operators that work element by element."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_pare.graph.axes import Axes, NotUnderstoodError
from onnx_pare.graph.edit import inputs_used

if TYPE_CHECKING:
    import onnx_ir as ir


def pass_on(axes: Axes, source: ir.Value, result: ir.Value) -> None:
    """Hand on the numbers of all axes."""
    if not result.name:
        return
    for axis in range(len(axes.known(source))):
        axes.put(result, axis, axes.get(source, axis))


def same(axes: Axes, node: ir.Node) -> None:
    """One input, the same shape."""
    source, *others = inputs_used(node)
    for value in others:
        if len(axes.known(value)) > 1 or axes.known(value) > (1,):
            raise NotUnderstoodError(f"'{value.name}' has a shape of its own")
    for value in node.outputs:
        pass_on(axes, source, value)


def broadcast(axes: Axes, node: ir.Node, last: int = 0) -> None:
    """Any number of inputs, broadcast as numpy does, over all axes but the `last` ones."""
    result, inputs = node.outputs[0], inputs_used(node)
    shape = axes.known(result)
    for axis in range(len(shape) - last):
        if shape[axis] > 1:
            places = [(value, axis - len(shape) + len(axes.known(value))) for value in inputs]
            axes.put(result, axis, axes.join([p for p in places if p[1] >= 0 and axes.known(p[0])[p[1]] > 1]))


def broadcast_into(axes: Axes, result: ir.Value, added: ir.Value | None) -> None:
    """Tie what is added to a result that has its numbers already."""
    if added is None:
        return
    rank, own = len(axes.known(result)), axes.known(added)
    for axis, length in enumerate(own):
        if length > 1:
            axes.join([(result, rank - len(own) + axis), (added, axis)])
