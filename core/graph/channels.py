"""Which channels of which tensors can only be scaled together.

Each channel of each tensor gets a number; channels that are tied have the same root: what scales one scales
all of them, or the model computes something else. Layers with constant weights cut the ties, since their
weights can take a factor back. A channel that meets anything not understood here is fixed: it cannot be
scaled. How channels move is told by the same rules that tell what can be removed (`axis_rules`), but fewer
operators may take part: f(s · x) = s · f(x) must hold for s > 0, channel by channel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from onnx_pare.graph.axes import Axes, NotUnderstoodError
from onnx_pare.graph.axis_rules import RULES
from onnx_pare.graph.edit import constant, static_shape
from onnx_pare.graph.ties import Ids

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass
class Channels:
    """The ties of one graph.

    Attributes:
        of: The channel numbers of each tensor, along axis 1.
    """

    of: dict[ir.Value, Ids] = field(default_factory=dict)
    _roots: Ids = field(default_factory=lambda: np.empty(0, np.int64))
    _fixed: Ids = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self._roots)

    def roots(self, value: ir.Value) -> Ids:
        """Return the roots of a tensor's channels."""
        found: Ids = self._roots[self.of[value]]
        return found

    def free(self) -> Ids:
        """Return for each number whether it is a root that may be scaled."""
        found: Ids = np.equal(self._roots, np.arange(len(self)))
        found[self._roots[self._fixed]] = False
        return found


def trace(graph: ir.Graph, is_layer: Callable[[ir.Node], bool]) -> Channels:
    """Follow the channels through a graph whose shapes are known.

    Args:
        graph: Its inputs and outputs are fixed.
        is_layer: Whether a node has constant weights that can be scaled along input and output channels.
    """
    axes = Axes(_shape, constant, graph.opset_imports.get("", 1))
    for value in graph.inputs:
        _start(axes, value)
        axes.freeze(value, "the model's input")
    for node in graph:
        axes.visit(node)
        if is_layer(node):
            _start(axes, node.outputs[0])
        elif not _follow(axes, node):
            for made in node.outputs:
                _start(axes, made)
            for met in (*node.inputs, *node.outputs):
                axes.freeze(met, "is not understood")
    for value in graph.outputs:
        axes.freeze(value, "the model's output")
    for value, axis in axes.of:
        if axis != 1 or any(use.node.graph is not graph for use in value.uses()):
            axes.fix(axes.of[value, axis], "leaves the axis of the channels, or the graph")
    fixed = [ids for ids, _ in axes.fixed]
    channels = {value: ids for (value, axis), ids in axes.of.items() if axis == 1}
    return Channels(channels, axes.ties.roots(), np.concatenate(fixed) if fixed else np.empty(0, np.int64))


def _shape(value: ir.Value) -> tuple[int, ...] | None:
    """Return a shape whose first axis may be free: the number of samples does not matter, and counts 1."""
    dims = None if value.shape is None else list(value.shape)
    if not dims or not all(isinstance(dim, int) for dim in dims[1:]):
        return static_shape(value)
    first, *others = dims
    lengths = [first if isinstance(first, int) else 1, *others]
    return tuple(length for length in lengths if isinstance(length, int))


def _start(axes: Axes, value: ir.Value) -> None:
    shape = axes.shape(value)
    if shape is not None and len(shape) > 1:
        axes.of[value, 1] = axes.ties.new(shape[1])


def _follow(axes: Axes, node: ir.Node) -> bool:
    allowed = SCALES.get(node.op_type) if node.domain == "" else None
    if allowed is None or not allowed(node):
        return False
    try:
        RULES[node.op_type](axes, node)
    except NotUnderstoodError:
        return False
    return True


def _always(node: ir.Node) -> bool:
    return True


def _clips_at_zero(node: ir.Node) -> bool:
    """Clip from 0: what is scaled up meets the upper bound earlier, which is the caller's to see to."""
    lowest = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    return lowest is not None and lowest.size == 1 and float(lowest.item()) == 0.0


def _adds_alike(node: ir.Node) -> bool:
    a, b = node.inputs
    return a is not None and b is not None and a.shape == b.shape and _computed(node)


def _computed(node: ir.Node) -> bool:
    """A constant takes no factor."""
    return all(constant(value) is None for value in node.inputs)


def _pads_zeros(node: ir.Node) -> bool:
    """Channels that are added hold nothing but zeros, which any factor leaves alone."""
    filled = node.inputs[2] if len(node.inputs) > 2 else None
    array = constant(filled)
    return filled is None or (array is not None and not array.any())


SCALES: dict[str, Callable[[ir.Node], bool]] = {
    **dict.fromkeys(("Relu", "LeakyRelu", "Identity", "Dropout", "MaxPool", "AveragePool"), _always),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _always),
    **dict.fromkeys(("Flatten", "Reshape", "Slice", "Split", "Squeeze"), _always),
    "Add": _adds_alike,
    "Clip": _clips_at_zero,
    "Concat": _computed,
    "Pad": _pads_zeros,
}
