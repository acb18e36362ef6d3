"""Which attributes and shapes of a node count channels, and what they become as channels go."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from onnx_pare.graph.axis_layout import pads, slices
from onnx_pare.graph.axis_parameters import given_axes, numbers
from onnx_pare.graph.cut import Cut
from onnx_pare.graph.edit import constant, inputs_used

if TYPE_CHECKING:
    import onnx_ir as ir


def _conv(cut: Cut, node: ir.Node) -> None:
    import onnx_ir as ir

    if node.attributes.get_int("group", 1) == 1:
        return
    counted, each = (node.inputs[0], 1) if node.op_type == "Conv" else (node.outputs[0], 1)
    weight = node.inputs[1]
    if counted is not None and weight is not None and constant(weight) is not None:
        node.attributes["group"] = ir.AttrInt64("group", cut.length(counted, 1) // cut.length(weight, each))


def _group_norm(cut: Cut, node: ir.Node) -> None:
    import onnx_ir as ir

    x, groups = inputs_used(node)[0], node.attributes.get_int("num_groups", 1)
    share = groups * cut.length(x, 1) // cut.groups.axes.known(x)[1]
    if share != groups:
        node.attributes["num_groups"] = ir.AttrInt64("num_groups", share)


def _split(cut: Cut, node: ir.Node) -> None:
    x = inputs_used(node)[0]
    axis = node.attributes.get_int("axis", 0) % len(cut.groups.axes.known(x))
    if cut.keeps(x, axis) is not None:
        sizes = [cut.length(value, axis) for value in node.outputs]
        if cut.groups.axes.opset < 13:
            import onnx_ir as ir

            node.attributes["split"] = ir.AttrInt64s("split", sizes)
            return
        node.attributes.pop("num_outputs", None)
        cut.give(node, "split", 1, sizes)


def _slice_bounds(cut: Cut, node: ir.Node) -> None:
    x = inputs_used(node)[0]
    before = slices(cut.groups.axes, node)
    keeps = {axis: keep for axis in before if (keep := cut.keeps(x, axis)) is not None}
    if not keeps:
        return
    named = given_axes(cut.groups.axes, node, 3) or list(range(len(before)))
    starts = numbers(cut.groups.axes, node, "starts", 1) or []
    ends = numbers(cut.groups.axes, node, "ends", 2) or []
    for place, axis in enumerate(named):
        if axis in keeps:
            starts[place] = int(keeps[axis][: before[axis].start].sum())
            ends[place] = int(keeps[axis][: before[axis].stop].sum())
    cut.give(node, "starts", 1, starts)
    cut.give(node, "ends", 2, ends)


def _pad_amounts(cut: Cut, node: ir.Node) -> None:
    x, y = inputs_used(node)[0], node.outputs[0]
    before = pads(cut.groups.axes, node)
    keeps = {axis: keep for axis in range(len(before)) if (keep := cut.keeps(y, axis)) is not None}
    if not keeps:
        return
    named = given_axes(cut.groups.axes, node, 3) or list(range(len(before)))
    amounts = numbers(cut.groups.axes, node, "pads", 1) or []
    for place, axis in enumerate(named):
        if axis in keeps:
            first, length = before[axis][0], cut.groups.axes.known(x)[axis]
            amounts[place] = int(keeps[axis][:first].sum())
            amounts[place + len(named)] = int(keeps[axis][first + length :].sum())
    cut.give(node, "pads", 1, amounts)


def _gather_indices(cut: Cut, node: ir.Node) -> None:
    x, indices = inputs_used(node)
    axis = node.attributes.get_int("axis", 0) % len(cut.groups.axes.known(x))
    keep, picked = cut.keeps(x, axis), cut.groups.axes.content(indices)
    if keep is not None and picked is not None:
        places = picked[keep[picked]] % len(keep)
        cut.give(node, "indices", 1, (np.cumsum(keep)[places] - 1).tolist())


def _shape(attribute: str, place: int) -> Callable[[Cut, ir.Node], None]:
    """Return the edit of a node that is given the shape of its output."""

    def edit(cut: Cut, node: ir.Node) -> None:
        given = node.inputs[place] if len(node.inputs) > place else None
        array, result = cut.groups.axes.content(given), node.outputs[0]
        if array is None:
            return
        shape, rank = array.tolist(), len(cut.groups.axes.known(result))
        places = {axis - rank + len(shape): cut.length(result, axis) for axis in cut.cut_axes(result)}
        changed = {place: length for place, length in places.items() if place >= 0 and shape[place] > 1}
        if changed:
            cut.give(node, attribute, place, [changed.get(axis, n) for axis, n in enumerate(shape)])

    return edit


EDITS: dict[str, Callable[[Cut, ir.Node], None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv,
    "Expand": _shape("shape", 1),
    "Gather": _gather_indices,
    "GroupNormalization": _group_norm,
    "Pad": _pad_amounts,
    "Reshape": _shape("shape", 1),
    "Resize": _shape("sizes", 3),
    "Slice": _slice_bounds,
    "Split": _split,
}
