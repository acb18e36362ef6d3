"""Channels whose measured activations were always zero wherever a layer reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from onnx_pare.graph.edit import constant, inputs_used
from onnx_pare.sparsity.metadata import read_zeros

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.groups import Group, Groups
    from onnx_pare.graph.ties import Ids


def dead_units(groups: Groups) -> dict[int, list[int]]:
    """Return the units of each group that can go without a change on what was measured.

    A unit is dead if all layers that read its channels read zeros; what lies between may be anything that
    leaves zeros zero. Of a group of nothing but dead units one is kept.
    """
    known = _Zeros(groups)
    found = {}
    for index, group in groups.items():
        units = _dead(known, groups, group)[: group.units - 1]
        if units:
            found[index] = units
    return found


def _dead(known: _Zeros, groups: Groups, group: Group) -> list[int]:
    if group.contracted or not group.consumers:
        return []
    dead = set(range(group.units))
    for part in group.consumers:
        read = next(value for value in inputs_used(part.node) if value is not part.value)
        roots = known.of(read)
        dead &= set(groups.unit_of[roots[groups.group_of[roots] == group.index]].tolist())
    return sorted(dead)


@dataclass
class _Zeros:
    """Which channels of which values are zero throughout, as roots of the numbers along their axes."""

    groups: Groups
    _known: dict[ir.Value, Ids] = field(default_factory=dict)

    def of(self, value: ir.Value) -> Ids:
        """Return the roots all of whose positions in the value are zero."""
        waiting = [value]
        while waiting:
            node = waiting[-1].producer()
            given = [] if node is None or self._annotated(waiting[-1]) is not None else inputs_used(node)
            missing = [other for other in given if other not in self._known and _rule(node) is not None]
            if missing:
                waiting += missing
            else:
                last = waiting.pop()
                self._known[last] = self._find(last)
        return self._known[value]

    def roots(self, value: ir.Value) -> Ids:
        """Return the roots along all axes of a value."""
        axes = self.groups.axes
        ids = [axes.of[value, a] for a in range(len(axes.shape(value) or ())) if (value, a) in axes.of]
        return np.unique(self.groups.roots[np.concatenate(ids)]) if ids else np.empty(0, np.int64)

    def _annotated(self, value: ir.Value) -> Ids | None:
        node = value.producer()
        zeros = None if node is None or node.outputs[0] is not value else read_zeros(node)
        ids = None if zeros is None else self.groups.axes.of.get((value, zeros.channel_axis or 0))
        if zeros is None or zeros.channel_axis is None or ids is None:
            return None
        fired = np.ones(len(ids), bool)
        fired[list(zeros.dead_channels)] = False
        roots = self.groups.roots[ids]
        return np.setdiff1d(roots, roots[fired])

    def _find(self, value: ir.Value) -> Ids:
        node, measured = value.producer(), self._annotated(value)
        rule = None if node is None else _rule(node)
        if measured is not None:
            return measured
        if node is None or rule is None:
            return np.empty(0, np.int64)
        return np.intersect1d(self.roots(value), rule(self, node))

    def read(self, node: ir.Node) -> list[Ids]:
        """Return what is zero of each input."""
        return [self._known[value] for value in inputs_used(node)]

    def absent(self, node: ir.Node, value: ir.Value) -> Ids:
        """Return what the node's output holds and an input does not."""
        return np.setdiff1d(self.roots(node.outputs[0]), self.roots(value))


def _first(known: _Zeros, node: ir.Node) -> Ids:
    return known.read(node)[0]


def _all(known: _Zeros, node: ir.Node) -> Ids:
    return reduce(np.intersect1d, known.read(node))


def _any(known: _Zeros, node: ir.Node) -> Ids:
    return reduce(np.union1d, known.read(node))


def _concat(known: _Zeros, node: ir.Node) -> Ids:
    pairs = zip(known.read(node), inputs_used(node), strict=True)
    return reduce(np.intersect1d, (np.union1d(zero, known.absent(node, value)) for zero, value in pairs))


def _pad(known: _Zeros, node: ir.Node) -> Ids:
    filled = constant(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(1)
    old = "value" in node.attributes and node.attributes["value"].as_float() != 0  # until opset 10
    if filled is None or filled.any() or old:
        return np.empty(0, np.int64)
    return np.union1d(known.read(node)[0], known.absent(node, inputs_used(node)[0]))


ZERO_TO_ZERO = (
    *("Abs", "Dropout", "HardSwish", "Identity", "LeakyRelu", "Neg", "PRelu", "Relu", "Sign", "Sqrt", "Tanh"),
    *("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "Resize"),
    *("Flatten", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"),
)
_RULES: dict[str, Callable[[_Zeros, ir.Node], Ids]] = {
    **dict.fromkeys(ZERO_TO_ZERO, _first),
    "Add": _all,
    "Concat": _concat,
    "Mul": _any,
    "Pad": _pad,
}


def _rule(node: ir.Node | None) -> Callable[[_Zeros, ir.Node], Ids] | None:
    return None if node is None or node.domain else _RULES.get(node.op_type)
