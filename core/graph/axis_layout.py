"""How channels pass through operators that move, join, cut and repeat values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_pare.graph.axes import Axes, NotUnderstoodError
from onnx_pare.graph.axis_dims import follow_shape
from onnx_pare.graph.axis_parameters import given_axes, numbers
from onnx_pare.graph.edit import constant, inputs_used

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.ties import Ids


def transpose(axes: Axes, node: ir.Node) -> None:
    """Axis i of the result is axis perm[i] of the input."""
    x = inputs_used(node)[0]
    order = node.attributes.get_ints("perm", tuple(reversed(range(len(axes.known(x))))))
    for axis, source in enumerate(order):
        axes.put(node.outputs[0], axis, axes.get(x, source))


def concat(axes: Axes, node: ir.Node) -> None:
    """Along its axis the inputs keep their numbers; along all others they run side by side."""
    inputs, result = inputs_used(node), node.outputs[0]
    rank = len(axes.known(result))
    along = node.attributes.get_int("axis", 0) % rank
    for axis in range(rank):
        if axis != along:
            axes.put(result, axis, axes.join([(value, axis) for value in inputs]))
    if any((value, along) in axes.of or constant(value) is not None for value in inputs):
        axes.put(result, along, np.concatenate([_filled(axes, value, along) for value in inputs]))


def _filled(axes: Axes, value: ir.Value, axis: int) -> Ids:
    """Return the numbers along an axis, new ones that stay where it has none."""
    ids = axes.get(value, axis)
    if ids is None:
        ids = axes.ties.new(axes.known(value)[axis])
        axes.fix(ids, axes.blame.get(value) or "its channels are not followed")
    return ids


def split(axes: Axes, node: ir.Node) -> None:
    """Along its axis each output takes the next numbers."""
    x = inputs_used(node)[0]
    along = node.attributes.get_int("axis", 0) % len(axes.known(x))
    numbers(axes, node, "split", 1)
    start = 0
    for value in node.outputs:
        for axis in range(len(axes.known(x))):
            ids = axes.get(x, axis)
            if axis == along and ids is not None:
                ids = ids[start : start + axes.known(value)[axis]]
            axes.put(value, axis, ids)
        start += axes.known(value)[along]


def slice_(axes: Axes, node: ir.Node) -> None:
    """Along each axis it names, a Slice keeps the numbers between its bounds."""
    x, result = inputs_used(node)[0], node.outputs[0]
    bounds = slices(axes, node)
    for axis in range(len(axes.known(x))):
        ids = axes.get(x, axis)
        if axis in bounds and ids is not None:
            if bounds[axis].step not in (1, None):
                axes.uncut.append((ids, axes.stop("takes some of them in steps")))
            ids = ids[bounds[axis]]
        axes.put(result, axis, ids)


def slices(axes: Axes, node: ir.Node) -> dict[int, slice]:
    """Return what a Slice cuts: axis -> the bounds, within the axis."""
    shape = axes.known(inputs_used(node)[0])
    starts, ends = numbers(axes, node, "starts", 1), numbers(axes, node, "ends", 2)
    if starts is None or ends is None:
        raise NotUnderstoodError("its bounds are not given")
    named = given_axes(axes, node, 3) or list(range(len(starts)))
    steps = numbers(axes, node, "steps", 4) or [1] * len(starts)
    return {
        axis: slice(*slice(start, end if end > -(2**31) else None, step).indices(shape[axis]))
        if step > 0
        else slice(start, end, step)
        for start, end, axis, step in zip(starts, ends, named, steps, strict=True)
    }


def pads(axes: Axes, node: ir.Node) -> list[tuple[int, int]]:
    """Return what a Pad adds before and after each axis."""
    rank = len(axes.known(inputs_used(node)[0]))
    amounts = numbers(axes, node, "pads", 1)
    if amounts is None:
        raise NotUnderstoodError("its amounts are not given")
    named = given_axes(axes, node, 3) or list(range(rank))
    found = [(0, 0)] * rank
    for place, axis in enumerate(named):
        found[axis] = (amounts[place], amounts[place + len(named)])
    return found


def pad(axes: Axes, node: ir.Node) -> None:
    """What is added has numbers of its own: such channels go like any other, whatever they hold."""
    x, result = inputs_used(node)[0], node.outputs[0]
    for axis, (before, after) in enumerate(pads(axes, node)):
        ids = axes.get(x, axis)
        if ids is not None and (before or after):
            if min(before, after) < 0 or node.attributes.get_string("mode", "constant") != "constant":
                axes.fix(ids, "pads them with themselves, or cuts")
                ids = None
            else:
                ids = np.concatenate([axes.ties.new(before), ids, axes.ties.new(after)])
        axes.put(result, axis, ids)


def gather(axes: Axes, node: ir.Node) -> None:
    """Along its axis the indices' axes come in place; with constant indices numbers are picked."""
    x, indices = inputs_used(node)
    result, rank = node.outputs[0], len(axes.known(x))
    along = node.attributes.get_int("axis", 0) % rank
    picked, width = axes.content(indices), len(axes.known(indices))
    if picked is None or width != 1:
        axes.freeze(x, "picks among them", along)
        axes.freeze(indices, "picks by them")
    else:
        ids = axes.get(x, along)
        axes.put(result, along, None if ids is None else ids[picked])
    for axis in range(rank):
        if axis != along:
            axes.put(result, axis if axis < along else axis + width - 1, axes.get(x, axis))


def reduce(axes: Axes, node: ir.Node) -> None:
    """What is reduced stays; all other axes keep their numbers."""
    x, result = inputs_used(node)[0], node.outputs[0]
    rank = len(axes.known(x))
    if node.op_type.startswith("Arg"):
        named: list[int] | None = [node.attributes.get_int("axis", 0) % rank]
    else:
        named = given_axes(axes, node)
    if not named:
        named = [] if node.attributes.get_int("noop_with_empty_axes", 0) else list(range(rank))
    for axis in named:
        axes.freeze(x, "sums over the channels", axis)
    left = [axis for axis in range(rank) if axis not in named]
    kept = node.attributes.get_int("keepdims", 1)
    for place, axis in enumerate(left):
        axes.put(result, axis if kept else place, axes.get(x, axis))


def resize(axes: Axes, node: ir.Node) -> None:
    """Channels pass where the length stays."""
    x, result = inputs_used(node)[0], node.outputs[0]
    for axis, (before, after) in enumerate(zip(axes.known(x), axes.known(result), strict=True)):
        ids = axes.get(x, axis)
        if before != after:
            axes.fix(ids, "resizes over them")
            ids = None
        axes.put(result, axis, ids)
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        follow_shape(axes, node, node.inputs[3])


def expand(axes: Axes, node: ir.Node) -> None:
    """Axes of length 1 are repeated; all others keep their numbers."""
    x, result = inputs_used(node)[0], node.outputs[0]
    before, after = axes.known(x), axes.known(result)
    for axis, length in enumerate(before):
        place = len(after) - len(before) + axis
        if length == after[place]:
            axes.put(result, place, axes.get(x, axis))
    follow_shape(axes, node, node.inputs[1])


def tile(axes: Axes, node: ir.Node) -> None:
    """Repeated numbers go together with themselves."""
    x, result = inputs_used(node)[0], node.outputs[0]
    repeats = numbers(axes, node, "repeats", 1) or []
    for axis, times in enumerate(repeats):
        ids = axes.get(x, axis)
        axes.put(result, axis, None if ids is None else np.tile(ids, times))
