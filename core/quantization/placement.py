"""Where Q/DQ pairs go: the part of the graph that onnxruntime can run in integers from end to end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_pare.quantization import kernels

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass
class Placement:
    """What runs in integers.

    Attributes:
        axes: The anchors (Conv, Gemm, MatMul), each with the output-channel axis of its weight.
        followers: Operators with a QLinear kernel that sit between integers.
        carriers: Operators that only move values.
        owner: For each tensor held as uint8, the tensor whose range gives its parameters.
    """

    axes: dict[ir.Node, int] = field(default_factory=dict)
    followers: set[ir.Node] = field(default_factory=set)
    carriers: set[ir.Node] = field(default_factory=set)
    owner: dict[ir.Value, ir.Value] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.axes) + len(self.followers) + len(self.carriers)

    def runs_in_integers(self, node: ir.Node) -> bool:
        """Tell whether the node is one of the three kinds."""
        return node in self.axes or node in self.followers or node in self.carriers


def place(graph: ir.Graph, skipped: Iterable[ir.Node] = ()) -> Placement:
    """Choose the operators to run in integers and the tensors to hold as uint8.

    Anchors are always chosen. A follower or carrier is chosen where integers come in and an anchor, or a
    chosen follower, further down takes them: an operator alone between two borders would pay for two
    conversions and save nothing.
    """
    left_out = set(skipped)
    placement = Placement()
    for node in graph:
        axis = kernels.weight_axis(node)
        if axis is not None and node not in left_out:
            placement.axes[node] = axis
    reachable = _reachable(graph, placement, left_out)
    wanted = _choose(graph, placement, reachable)
    _own(graph, placement, wanted)
    return placement


def outputs(node: ir.Node) -> list[ir.Value]:
    """Return what an integer kernel made of the node would produce: after an absorbed bias, Relu or Clip."""
    if kernels.is_carrier(node):
        return list(node.outputs)
    last = kernels.absorbed_bias(node) or node
    return list((kernels.absorbed_activation(last) or last).outputs)


def _reachable(graph: ir.Graph, placement: Placement, left_out: set[ir.Node]) -> dict[ir.Node, None]:
    """Return followers and carriers whose inputs could arrive as integers, in topological order."""
    integers: set[ir.Value] = set()
    for anchor in placement.axes:
        integers.update(outputs(anchor))
        integers.update(kernels.data_inputs(anchor))
    found: dict[ir.Node, None] = {}
    for node in graph:
        if node in left_out or not (kernels.is_carrier(node) or kernels.is_follower(node)):
            continue
        arriving = [value in integers for value in kernels.data_inputs(node)]
        if all(arriving) or (node.op_type == "Add" and any(arriving)):
            found[node] = None
            integers.update(outputs(node))
    return found


def _choose(graph: ir.Graph, placement: Placement, reachable: Mapping[ir.Node, None]) -> set[ir.Value]:
    """Choose among the reachable operators; return the tensors that integer operators read."""
    produced = {value for node in (*placement.axes, *reachable) for value in outputs(node)}
    wanted: set[ir.Value] = set()
    for node in reversed(graph):
        if node in reachable and (any(v in wanted for v in outputs(node)) or _joins(node, produced)):
            (placement.carriers if kernels.is_carrier(node) else placement.followers).add(node)
        if placement.runs_in_integers(node):
            wanted.update(kernels.data_inputs(node))
    return wanted


def _joins(node: ir.Node, produced: set[ir.Value]) -> bool:
    """Tell whether a follower saves conversions though only floats follow: several come in, one goes out."""
    inputs = kernels.data_inputs(node)
    if kernels.is_carrier(node) or len(inputs) < 2 or any(value.is_graph_output() for value in outputs(node)):
        return False
    return all(value in produced for value in inputs)


def _own(graph: ir.Graph, placement: Placement, wanted: set[ir.Value]) -> None:
    """Fill `owner`: carriers hand their input's parameters on, all other tensors have their own."""
    for node in graph:
        if not placement.runs_in_integers(node):
            continue
        for value in kernels.data_inputs(node):
            placement.owner.setdefault(value, value)
        if node in placement.carriers:
            source = placement.owner[kernels.data_inputs(node)[0]]
            for value in node.outputs:
                placement.owner[value] = source
            continue
        produced = outputs(node)
        optional = node in placement.axes and not kernels.needs_quantized_output(node)
        if not optional or any(value in wanted for value in produced):
            for value in produced:
                placement.owner.setdefault(value, value)
