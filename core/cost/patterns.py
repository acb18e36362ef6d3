"""Finding a formula in a graph: patterns are written as nested tuples, and matched from their last node back.

    ("Mul", "x", ("Sigmoid", "x"))        x · σ(x)
    ("Mul|Div", "x", CONSTANT)            either operator
    ("Clip", "x")                         whatever inputs follow must be constants

A name stands for the same tensor wherever it is written. Add and Mul match in either order of operands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import onnx_ir as ir

Pattern: TypeAlias = "str | Formula"
Formula: TypeAlias = "tuple[str | Formula, ...]"

CONSTANT = "a constant"
_COMMUTATIVE = frozenset({"Add", "Mul"})


@dataclass(frozen=True)
class _Match:
    bound: Mapping[str, ir.Value] = field(default_factory=dict)
    nodes: tuple[ir.Node, ...] = ()


def matched(root: ir.Node, pattern: Formula, constants: frozenset[str]) -> tuple[ir.Node, ...]:
    """Return the nodes of a formula that ends in `root`, each once; none if it is not that formula.

    Nothing else may read what they make on the way, or it has to be computed anyway.
    """
    for match in _node(root, pattern, constants, _Match()):
        nodes = tuple(dict.fromkeys(match.nodes))
        if all(node is root or is_private(node, nodes) for node in nodes):
            return nodes
    return ()


def is_private(node: ir.Node, members: tuple[ir.Node, ...]) -> bool:
    """Return whether only `members` read what a node makes."""
    return all(
        not value.is_graph_output() and all(reader in members for reader in readers(value))
        for value in node.outputs
    )


def readers(value: ir.Value) -> list[ir.Node]:
    """Return the nodes that read what a tensor holds, not only its shape."""
    return [node for node in value.consumers() if node.op_type not in ("Shape", "Size")]


def only_reader(node: ir.Node) -> ir.Node | None:
    """Return the node that alone reads the first output; None if there are others, or it is an output."""
    found = readers(node.outputs[0])
    return found[0] if len(found) == 1 and not node.outputs[0].is_graph_output() else None


def _node(node: ir.Node, pattern: Formula, constants: frozenset[str], match: _Match) -> Iterator[_Match]:
    operators, *operands = pattern
    assert isinstance(operators, str)
    if node.domain or node.op_type not in operators.split("|"):
        return
    given, rest = node.inputs[: len(operands)], node.inputs[len(operands) :]
    if len(given) < len(operands) or any(v is not None and v.name not in constants for v in rest):
        return
    orders = permutations(operands) if node.op_type in _COMMUTATIVE else (tuple(operands),)
    for order in orders:
        matches = [_Match(match.bound, (*match.nodes, node))]
        for value, operand in zip(given, order, strict=True):
            matches = [each for before in matches for each in _value(value, operand, constants, before)]
        yield from matches


def _value(
    value: ir.Value | None, pattern: Pattern, constants: frozenset[str], match: _Match
) -> Iterator[_Match]:
    if value is None:
        return
    if pattern == CONSTANT or value.name in constants:
        if pattern == CONSTANT and value.name in constants:
            yield match
    elif isinstance(pattern, str):
        if match.bound.get(pattern, value) is value:
            yield _Match({**match.bound, pattern: value}, match.nodes)
    elif (maker := value.producer()) is not None:
        yield from _node(maker, pattern, constants, match)
