"""Peak activation memory, by liveness over the graph's own order.

Assumptions, those of a runtime with an ideal allocator (no fragmentation, no workspace):

- nodes run one after the other, in the file's order;
- a tensor lives from the node that makes it to the last that reads it, a graph input from the start to its
  last reader, a graph output to the end; constants and weights are not activations;
- views (Reshape, Squeeze, …) share memory with their input;
- element-wise functions of one tensor write in place, if nothing reads it later and it is no graph input;
- an operator between DequantizeLinear and QuantizeLinear runs on integers, no floats are stored (`fused`);
- while a node with subgraphs runs, the most demanding of its branches, or its body, adds its own peak.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_pare.cost.constants import is_constant_node
from onnx_pare.cost.fused import fused

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.shapes import Shapes

VIEWS = frozenset({"Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
IN_PLACE = frozenset(
    (
        *(
            "Abs",
            "BatchNormalization",
            "Ceil",
            "Celu",
            "Clip",
            "Elu",
            "Erf",
            "Exp",
            "Floor",
            "Gelu",
            "HardSigmoid",
        ),
        *("HardSwish", "LeakyRelu", "Log", "Mish", "Neg", "PRelu", "Reciprocal", "Relu", "Round", "Selu"),
        *("Sigmoid", "Softplus", "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu"),
    )
)


@dataclass(frozen=True)
class Activations:
    """Bytes of all activations of a graph, views counted once, and the most that live at one time."""

    total_bytes: int
    peak_bytes: int


@dataclass
class _Buffer:
    """A piece of memory: its size, and the positions of the first and the last node that need it."""

    size_bytes: int
    first: int
    last: int
    is_input: bool = False


def activations(graph: ir.Graph, shapes: Shapes, constants: frozenset[str]) -> Activations:
    """Return the activation memory of a graph, its inputs included; unknown shapes count as nothing."""
    nodes = [node for node in graph if not is_constant_node(node, constants)]
    inner = [[activations(g, shapes, constants) for g in subgraphs(node, shapes)] for node in nodes]
    home = _with_views(graph, nodes, shapes, constants)
    total = sum(buffer.size_bytes for buffer in _distinct(home))
    total += sum(max((each.total_bytes for each in graphs), default=0) for graphs in inner)
    _write_in_place(nodes, home)
    # position 0 is the start, when only the inputs live; node i runs at position i + 1
    live, made = [0] * (len(nodes) + 1), [0] * (len(nodes) + 1)
    for buffer in _distinct(home):
        made[buffer.first] += buffer.size_bytes
        for position in range(buffer.first, buffer.last + 1):
            live[position] += buffer.size_bytes
    peaks = [0, *(max((each.peak_bytes for each in graphs), default=0) for graphs in inner)]
    peak = max(now + max(0, p - m) for now, m, p in zip(live, made, peaks, strict=True))
    return Activations(total, peak)


def subgraphs(node: ir.Node, shapes: Shapes) -> list[ir.Graph]:
    """Return the subgraphs of a node that may run: of an If with a known condition, the one taken."""
    graphs = attached(node)
    if node.op_type == "If" and node.inputs[0] is not None:
        condition = shapes.contents.get(node.inputs[0].name or "")
        if condition is not None:
            return [graphs["then_branch" if condition.all() else "else_branch"]]
    return list(graphs.values())


def attached(node: ir.Node) -> dict[str, ir.Graph]:
    """Return a node's subgraphs by attribute name."""
    import onnx_ir as ir

    return {a.name: a.as_graph() for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH}


def _with_views(
    graph: ir.Graph, nodes: Sequence[ir.Node], shapes: Shapes, constants: frozenset[str]
) -> dict[str, _Buffer]:
    """Give every activation its buffer, views that of their input, with first and last use."""
    home: dict[str, _Buffer] = {}

    merged = fused(nodes, constants)

    def place(value: ir.Value, position: int, is_input: bool = False) -> None:
        info = shapes.get(merged.stored_as.get(value.name or "", value.name or ""))
        if value.name and value.name not in constants:
            home[value.name] = _Buffer(info.size_bytes if info else 0, position, position, is_input)

    for value in graph.inputs:
        place(value, 0, is_input=True)
    for position, node in enumerate(nodes, start=1):
        for name in reads(node):
            if name in home:
                home[name].last = position
        for value in node.outputs:
            place(value, position)
        source, view = _first(node.inputs), _first(node.outputs)
        is_view = (node.op_type in VIEWS and not node.domain) or node in merged.views
        if is_view and source in home and view in home:
            home[view] = home[source]
    for value in graph.outputs:
        if value.name in home:
            home[value.name].last = len(nodes)
    return home


def _write_in_place(nodes: Sequence[ir.Node], home: dict[str, _Buffer]) -> None:
    """Let element-wise functions of one tensor use its buffer, where they are its last reader."""
    for position, node in enumerate(nodes, start=1):
        source = home.get(_first(node.inputs))
        made = home.get(_first(node.outputs))
        if node.op_type not in IN_PLACE or node.domain or source is None or made is None or source.is_input:
            continue
        if source.last == position and source.size_bytes == made.size_bytes:
            source.last = made.last
            for name, buffer in home.items():
                if buffer is made:
                    home[name] = source


def _first(values: Sequence[ir.Value | None]) -> str:
    return (values[0].name or "") if values and values[0] is not None else ""


def reads(node: ir.Node) -> Iterator[str]:
    """Yield the names of all tensors a node reads, those that its subgraphs take from outside included."""
    for value in node.inputs:
        if value is not None and value.name:
            yield value.name
    for graph in attached(node).values():
        inside = {value.name for value in (*graph.inputs, *graph.initializers.values())}
        inside |= {value.name for each in graph for value in each.outputs}
        named = (value.name for value in graph.outputs if value.name)
        for name in (*(name for each in graph for name in reads(each)), *named):
            if name not in inside:
                yield name


def _distinct(home: dict[str, _Buffer]) -> list[_Buffer]:
    return list({id(buffer): buffer for buffer in home.values()}.values())
