"""Which channels of which tensors can only be scaled together.

Each channel of each tensor gets a number; channels with the same root are tied: what scales one scales all of
them, or the model computes something else. Layers with constant weights cut the ties, since their weights can
take a factor back. A channel that meets anything not understood here is fixed: it cannot be scaled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.graph.edit import constant

if TYPE_CHECKING:
    import onnx_ir as ir

Ids = np.ndarray[Any, Any]


@dataclass
class Channels:
    """The ties of one graph.

    Attributes:
        of: The channel numbers of each tensor, along axis 1.
        fixed: Numbers that cannot be scaled.
    """

    of: dict[ir.Value, Ids] = field(default_factory=dict)
    fixed: set[int] = field(default_factory=set)
    _parents: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._parents)

    def new(self, value: ir.Value, *, fixed: bool = False) -> None:
        """Give a tensor channels of its own, as many as its shape says; without axis 1 it gets none."""
        count = _channels(value)
        if count is None:
            return
        ids = np.arange(len(self._parents), len(self._parents) + count)
        self._parents.extend(ids.tolist())
        self.of[value] = ids
        if fixed:
            self.fixed.update(ids.tolist())

    def fix(self, value: ir.Value | None) -> None:
        """Fix all channels of a tensor."""
        if value is not None and value in self.of:
            self.fixed.update(self.of[value].tolist())

    def tie(self, a: Ids, b: Ids) -> None:
        """Tie channels to each other, one by one."""
        for one, other in zip(a.tolist(), b.tolist(), strict=True):
            self._parents[self.root(one)] = self.root(other)

    def root(self, number: int) -> int:
        """Return the number that stands for all tied to this one."""
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number

    def roots(self, value: ir.Value) -> Ids:
        """Return the roots of a tensor's channels."""
        return np.array([self.root(number) for number in self.of[value].tolist()], dtype=np.int64)

    def free(self) -> Ids:
        """Return for each number whether it is a root that may be scaled."""
        found = np.array([self.root(i) == i for i in range(len(self))], dtype=bool)
        found[[self.root(number) for number in self.fixed]] = False
        return found


def trace(graph: ir.Graph, is_layer: Callable[[ir.Node], bool]) -> Channels:
    """Follow the channels through a graph whose shapes are known.

    Args:
        graph: Its inputs and outputs are fixed.
        is_layer: Whether a node has constant weights that can be scaled along input and output channels.
    """
    channels = Channels()
    for value in graph.inputs:
        channels.new(value, fixed=True)
    for node in graph:
        if is_layer(node):
            channels.new(node.outputs[0])
            continue
        rule = RULES.get(node.op_type) if node.domain == "" else None
        if rule is None or not rule(channels, node):
            _fix_all(channels, node)
    for value in graph.outputs:
        channels.fix(value)
    for value in channels.of:
        if any(use.node.graph is not graph for use in value.uses()):
            channels.fix(value)
    return channels


def _fix_all(channels: Channels, node: ir.Node) -> None:
    for value in node.inputs:
        channels.fix(value)
    for value in node.outputs:
        channels.new(value, fixed=True)


def _same(channels: Channels, node: ir.Node) -> bool:
    """f(s · x) = s · f(x) for s > 0, channel by channel."""
    source = node.inputs[0]
    if source not in channels.of or _channels(node.outputs[0]) != len(channels.of[source]):
        return False
    channels.of[node.outputs[0]] = channels.of[source]
    return True


def _clip(channels: Channels, node: ir.Node) -> bool:
    """Clip from 0: what is scaled up meets the upper bound earlier, which is the caller's to see to."""
    lowest = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    return lowest is not None and lowest.size == 1 and float(lowest.item()) == 0.0 and _same(channels, node)


def _add(channels: Channels, node: ir.Node) -> bool:
    a, b = node.inputs[0], node.inputs[1]
    if a is None or b is None or a not in channels.of or b not in channels.of or a.shape != b.shape:
        return False
    channels.tie(channels.of[a], channels.of[b])
    channels.of[node.outputs[0]] = channels.of[a]
    return True


def _concat(channels: Channels, node: ir.Node) -> bool:
    if node.attributes.get_int("axis", 0) != 1 or any(value not in channels.of for value in node.inputs):
        return False
    channels.of[node.outputs[0]] = np.concatenate([channels.of[v] for v in node.inputs if v is not None])
    return True


def _pad(channels: Channels, node: ir.Node) -> bool:
    """Pad with zeros: channels that are added hold nothing but zeros, which any factor leaves alone."""
    pads = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    value = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    mode = node.attributes.get_string("mode", "constant")
    source = node.inputs[0]
    if mode != "constant" or pads is None or len(node.inputs) > 3 or source not in channels.of:
        return False
    if len(node.inputs) > 2 and node.inputs[2] is not None and (value is None or value.any()):
        return False
    before, after = int(pads[1]), int(pads[1 + len(pads) // 2])
    if min(before, after) < 0 or _channels(node.outputs[0]) is None:
        return False
    channels.new(node.outputs[0])
    own = channels.of[node.outputs[0]]
    channels.tie(own[before : len(own) - after], channels.of[source])
    return True


def _slice(channels: Channels, node: ir.Node) -> bool:
    source = node.inputs[0]
    given = [constant(value) for value in node.inputs[1:5]]
    if source is None or source not in channels.of or len(given) < 3 or any(a is None for a in given):
        return False
    starts, ends, axes = (array.tolist() for array in given[:3] if array is not None)
    steps = given[3].tolist() if len(given) > 3 and given[3] is not None else [1] * len(starts)
    ids = channels.of[source]
    rank = len(source.shape) if source.shape is not None else 0
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if axis % max(rank, 1) == 1:
            ids = ids[slice(*slice(start, end, step).indices(len(ids)))]
    if _channels(node.outputs[0]) != len(ids):
        return False
    channels.of[node.outputs[0]] = ids
    return True


def _split(channels: Channels, node: ir.Node) -> bool:
    source = node.inputs[0]
    if source not in channels.of or node.attributes.get_int("axis", 0) != 1:
        return False
    counts = [_channels(value) for value in node.outputs]
    if None in counts or sum(count or 0 for count in counts) != len(channels.of[source]):
        return False
    start = 0
    for value, count in zip(node.outputs, counts, strict=True):
        channels.of[value] = channels.of[source][start : start + (count or 0)]
        start += count or 0
    return True


def _flatten(channels: Channels, node: ir.Node) -> bool:
    """Each channel becomes as many columns as it had positions."""
    source, result = node.inputs[0], node.outputs[0]
    columns = _channels(result)
    if source not in channels.of or columns is None or result.shape is None or len(result.shape) != 2:
        return False
    own = channels.of[source]
    if columns % len(own) or node.attributes.get_int("axis", 1) != 1:
        return False
    shape = source.shape
    if shape is None or result.shape[0] != shape[0]:
        return False
    channels.of[result] = np.repeat(own, columns // len(own))
    return True


RULES: dict[str, Callable[[Channels, ir.Node], bool]] = {
    **dict.fromkeys(("Relu", "LeakyRelu", "Identity", "Dropout", "MaxPool", "AveragePool"), _same),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _same),
    "Add": _add,
    "Clip": _clip,
    "Concat": _concat,
    "Flatten": _flatten,
    "Pad": _pad,
    "Reshape": _flatten,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _flatten,
}


def _channels(value: ir.Value) -> int | None:
    if value.shape is None or len(value.shape) < 2 or not isinstance(value.shape[1], int):
        return None
    return value.shape[1]
