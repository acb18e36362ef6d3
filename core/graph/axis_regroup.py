"""How channels pass through operators that cut an axis in several, or make one of several."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from onnx_pare.graph.axes import Axes
from onnx_pare.graph.axis_dims import follow_shape
from onnx_pare.graph.edit import inputs_used

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.ties import Ids


def reshape(axes: Axes, node: ir.Node) -> None:
    """Reshape, Flatten, Squeeze and Unsqueeze: runs of axes with equal products correspond."""
    x, result = inputs_used(node)[0], node.outputs[0]
    before, after = axes.known(x), axes.known(result)
    for sources, targets in _runs(before, after):
        found = [(axis, ids) for axis in sources if (ids := axes.get(x, axis)) is not None]
        if len(found) > 1:
            for _, ids in found:
                axes.fix(ids, "joins two kinds of channels")
        elif found:
            axis, ids = found[0]
            _regroup(axes, node, ids, [before[s] for s in sources], sources.index(axis), targets)
    if node.op_type == "Reshape":
        follow_shape(axes, node, node.inputs[1])


def _runs(before: tuple[int, ...], after: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """Return the shortest runs of axes, lengths of 1 left out, whose products agree."""
    sides = [[axis for axis, length in enumerate(shape) if length != 1] for shape in (before, after)]
    ends = [
        list(accumulate((shape[axis] for axis in side), lambda a, b: a * b))
        for shape, side in zip((before, after), sides, strict=True)
    ]
    runs, starts = [], [0, 0]
    for end in sorted(set(ends[0]) & set(ends[1])):
        stops = [side.index(end) + 1 for side in ends]
        runs.append((sides[0][starts[0] : stops[0]], sides[1][starts[1] : stops[1]]))
        starts = stops
    return runs


def _regroup(axes: Axes, node: ir.Node, ids: Ids, lengths: list[int], place: int, targets: list[int]) -> None:
    """Find the axis of the result that can carry the numbers, and tie what differs across the others.

    Positions of the run, in memory order, each have a number. Along the axis that is chosen, all positions
    of one index go together: what is left of both shapes is then the same, in the same order.
    """
    result = node.outputs[0]
    after = [axes.known(result)[axis] for axis in targets]
    flat = np.broadcast_to(ids.reshape([-1 if i == place else 1 for i in range(len(lengths))]), lengths)
    spread = flat.reshape(after)
    if len(targets) == 1:
        axes.put(result, targets[0], spread)
        return
    chosen = _carrier(node, spread)
    rows = np.moveaxis(spread, chosen, 0).reshape(after[chosen], -1)
    axes.ties.tie(rows, rows[:, :1])
    axes.put(result, targets[chosen], rows[:, 0])


def _carrier(node: ir.Node, spread: Ids) -> int:
    """Return the only axis along which numbers vary, else the groups that a norm asks for, or the longest."""
    varying = [axis for axis in range(spread.ndim) if (np.diff(spread, axis=axis) != 0).any()]
    if len(varying) == 1:
        return varying[0]
    if any(use.node.op_type == "InstanceNormalization" for use in node.outputs[0].uses()):
        return varying[0]
    return max(varying, key=lambda axis: (spread.shape[axis], axis))


def depth_to_space(axes: Axes, node: ir.Node) -> None:
    """(b · b · C) or (C · b · b) channels become C: those of one pixel go together."""
    x = inputs_used(node)[0]
    square = node.attributes.get_int("blocksize", 1) ** 2
    ids = axes.get(x, 1)
    if ids is None:
        return
    column = node.attributes.get_string("mode", "DCR") == "DCR"
    rows = ids.reshape(square, -1).T if column else ids.reshape(-1, square)
    axes.ties.tie(rows, rows[:, :1])
    axes.put(node.outputs[0], 1, rows[:, 0])


def space_to_depth(axes: Axes, node: ir.Node) -> None:
    """C channels become (b · b · C)."""
    ids = axes.get(inputs_used(node)[0], 1)
    if ids is not None:
        axes.put(node.outputs[0], 1, np.tile(ids, node.attributes.get_int("blocksize", 1) ** 2))
