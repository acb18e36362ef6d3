"""Removing channels: every constant, attribute and shape that counts them is cut to what is left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.graph.cut import Cut
from onnx_pare.graph.cut_edits import EDITS
from onnx_pare.graph.edit import Names, constant, drop_unused, set_constant
from onnx_pare.graph.groups import Groups

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.ties import Ids


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
    drop_unused(model.graph, cut.stale)
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
