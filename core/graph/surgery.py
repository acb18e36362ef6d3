"""Removing channels: every constant, attribute and shape that counts them is cut to what is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.graph.axis_layout import given_axes, numbers, pads, slices
from onnx_pare.graph.edit import Names, add_initializer, constant, inputs_used, set_constant
from onnx_pare.graph.groups import Groups

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.ties import Ids


@dataclass
class Cut:
    """What is left of every axis that loses positions.

    Attributes:
        groups: The groups of the model before.
        gone: Whether a number goes.
        graph: The graph that is edited.
        names: Free names in it.
        stale: Constants that a node has been given others in place of.
    """

    groups: Groups
    gone: Ids
    graph: ir.Graph
    names: Names
    stale: list[ir.Value] = field(default_factory=list)

    def keeps(self, value: ir.Value, axis: int) -> Ids | None:
        """Return which positions along an axis stay; None if all do."""
        ids = self.groups.axes.of.get((value, axis))
        if ids is None:
            return None
        keep = ~self.gone[ids]
        return None if keep.all() else keep

    def length(self, value: ir.Value, axis: int) -> int:
        """Return what is left of an axis."""
        keep = self.keeps(value, axis)
        return self.groups.axes.known(value)[axis] if keep is None else int(keep.sum())

    def cut_axes(self, value: ir.Value) -> dict[int, Ids]:
        """Return the axes of a value that lose positions, each with those that stay."""
        found = {axis: self.keeps(value, axis) for axis in range(len(self.groups.axes.shape(value) or ()))}
        return {axis: keep for axis, keep in found.items() if keep is not None}

    def give(self, node: ir.Node, attribute: str, place: int, content: list[int]) -> None:
        """Give a node integers in place of others: as an attribute, or as a constant of its own."""
        import onnx_ir as ir

        if attribute in node.attributes:
            node.attributes[attribute] = ir.AttrInt64s(attribute, content)
            return
        old = node.inputs[place] if len(node.inputs) > place else None
        kept = self.groups.axes.content(old)
        dtype = np.dtype(np.int64) if kept is None else kept.dtype
        name = self.names.new(f"{node.outputs[0].name}_{attribute}")
        new = add_initializer(self.graph, name, np.asarray(content, dtype))
        if place >= len(node.inputs):
            node.resize_inputs(place + 1)
        node.replace_input_with(place, new)
        if old is not None:
            self.stale.append(old)


def remove_channels(
    model: ir.Model, groups: Groups, units: Mapping[int, Iterable[int]]
) -> dict[ir.Value, dict[int, Ids]]:
    """Remove units of groups in place, all at once.

    Inputs and outputs keep their names and shapes. `groups` does not describe the model any more afterwards.

    Args:
        model: The model that `groups` was found in, not changed since.
        groups: What `find_groups` found.
        units: The number of each group -> its units to remove.

    Returns:
        The values that lost channels: axis -> which of the positions stay.

    Raises:
        ValueError: A group has no such unit, or would lose all of them.
    """
    cut = Cut(groups, _gone(groups, units), model.graph, Names(model))
    values = dict.fromkeys(value for value, _ in groups.axes.of)
    cuts = {value: axes for value in values if (axes := cut.cut_axes(value))}
    changed = set(cuts)
    for node in model.graph:
        edit = EDITS.get(node.op_type) if node.domain == "" else None
        if edit is not None and not changed.isdisjoint((*node.inputs, *node.outputs)):
            edit(cut, node)
    for value, axes in cuts.items():
        _slice(value, axes)
    _drop(model.graph, cut.stale)
    return cuts


def _gone(groups: Groups, units: Mapping[int, Iterable[int]]) -> Ids:
    gone = np.zeros(len(groups.group_of), bool)
    for index, chosen in units.items():
        wanted = np.unique(np.fromiter(chosen, np.int64))
        count = groups[index].units
        if len(wanted) and (wanted[0] < 0 or wanted[-1] >= count):
            raise ValueError(f"group {index} has {count} units, not {wanted.tolist()}")
        if len(wanted) == count:
            raise ValueError(f"group {index} would lose all of its {count} units")
        gone |= (groups.group_of == index) & np.isin(groups.unit_of, wanted)
    return gone


def _slice(value: ir.Value, axes: Mapping[int, Ids]) -> None:
    """Cut a constant, and the shape that is declared of any value."""
    import onnx_ir as ir

    array = constant(value)
    if array is not None:
        for axis, keep in axes.items():
            array = np.compress(keep, array, axis)
        set_constant(value, np.ascontiguousarray(array))
        value.shape = ir.Shape(array.shape)
    elif value.shape is not None:
        dims: list[Any] = list(value.shape)
        for axis, keep in axes.items():
            dims[axis] = int(keep.sum()) if isinstance(dims[axis], int) else dims[axis]
        value.shape = ir.Shape(dims)


def _drop(graph: ir.Graph, stale: Iterable[ir.Value]) -> None:
    """Remove the constants that nothing reads any more, and what computed them."""
    waiting = list(stale)
    while waiting:
        value = waiting.pop()
        producer = value.producer()
        if producer is None and not value.uses() and (value.name or "") in graph.initializers:
            del graph.initializers[value.name or ""]
        elif producer is not None and producer.graph is graph and not _is_used(producer):
            waiting += inputs_used(producer)
            graph.remove(producer, safe=True)


def _is_used(node: ir.Node) -> bool:
    return any(value.uses() or value.is_graph_output() for value in node.outputs)


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
