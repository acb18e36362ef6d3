"""Functions that exporters write as several operators, and that every runtime computes as one.

Known are GELU (x · Φ(x) by way of Erf), SiLU (x · σ(x)), hard-swish (x · hardsigmoid(x)), and where asked for
scaled dot-product attention (MatMul, scale, mask, Softmax, MatMul).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

_GATES = {"Sigmoid": "silu", "HardSigmoid": "hardswish"}
_SCALING = frozenset({"Add", "Cast", "Div", "Mul", "Where", "Reshape"})


@dataclass(frozen=True)
class Compound:
    """Nodes that compute one function, in the graph's order."""

    name: str
    nodes: tuple[ir.Node, ...]


def compounds(
    nodes: Sequence[ir.Node], constants: frozenset[str], *, attention: bool = False
) -> Mapping[ir.Node, Compound]:
    """Return for each node that belongs to a compound that compound."""
    order = {node: index for index, node in enumerate(nodes)}
    found: dict[ir.Node, Compound] = {}
    for node in nodes:
        for name, members in _found(node, constants, attention):
            if members and all(member in order and member not in found for member in members):
                compound = Compound(name, tuple(sorted(members, key=order.__getitem__)))
                found.update(dict.fromkeys(compound.nodes, compound))
    return found


def _found(
    node: ir.Node, constants: frozenset[str], attention: bool
) -> Iterator[tuple[str, Sequence[ir.Node]]]:
    if node.op_type in _GATES:
        yield _GATES[node.op_type], _gated(node)
    if node.op_type == "Erf":
        yield "gelu", _gelu(node, constants)
    if node.op_type == "Softmax" and attention:
        yield "attention", _attention(node)


def _gated(node: ir.Node) -> Sequence[ir.Node]:
    """Return x · f(x) with its f."""
    reader = _only_reader(node)
    if reader is None or reader.op_type != "Mul":
        return ()
    other = [value for value in reader.inputs if value is not node.outputs[0]]
    return (node, reader) if len(other) == 1 and other[0] is node.inputs[0] else ()


def _gelu(node: ir.Node, constants: frozenset[str]) -> Sequence[ir.Node]:
    """Return the operators of x/2 · (1 + erf(x/√2)), in whichever order they are written."""
    before = node.inputs[0].producer() if node.inputs[0] is not None else None
    if before is None or before.op_type not in ("Div", "Mul") or _only_reader(before) is not node:
        return ()
    source = before.inputs[0]
    add = _only_reader(node)
    if add is None or add.op_type != "Add":
        return ()
    members, last = [before, node, add], add
    for _ in range(2):
        reader = _only_reader(last)
        if reader is None or reader.op_type not in ("Mul", "Div"):
            break
        members.append(reader)
        last = reader
    halves = [
        reader
        for reader in (source.consumers() if source is not None else ())
        if reader not in members and reader.op_type in ("Div", "Mul") and _only_reader(reader) in members
    ]
    return (*members, *halves)


def _attention(softmax: ir.Node) -> Sequence[ir.Node]:
    """Return softmax(scale · q·kᵀ + mask)·v, from the first product to the second."""
    members, value = [softmax], softmax.inputs[0]
    while value is not None and (node := value.producer()) is not None:
        members.append(node)
        if node.op_type == "MatMul":
            break
        if node.op_type not in _SCALING or _only_reader(node) is None:
            return ()
        value = node.inputs[0]
    else:
        return ()
    last = _only_reader(softmax)
    if last is None or last.op_type != "MatMul" or last.inputs[0] is not softmax.outputs[0]:
        return ()
    if any(_only_reader(member) not in members for member in members[1:]):
        return ()
    return (*members, last)


def _only_reader(node: ir.Node) -> ir.Node | None:
    readers = node.outputs[0].consumers()
    return readers[0] if len(readers) == 1 and not node.outputs[0].is_graph_output() else None
