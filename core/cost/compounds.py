"""Operators that a runtime replaces by one before it fuses: formulas, attention, products, splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_pare.cost.formulas import FORMULAS
from onnx_pare.cost.patterns import Formula, matched, only_reader, readers

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.tensor_info import TensorInfo

_BETWEEN = frozenset({"Add", "Cast", "Div", "Dropout", "Mul", "Reshape", "Sub", "Where"})
_SELECTIONS = frozenset({"Gather", "Slice"})


@dataclass(frozen=True)
class Compound:
    """Nodes that compute one function, in the graph's order.

    Attributes:
        name: `gelu`, `attention`, `split`, …; empty if it is its lead that the others are absorbed by.
        lead: The node that gives it its shape: the last one of a formula.
        nodes: All of them.
    """

    name: str
    lead: ir.Node
    nodes: tuple[ir.Node, ...]


class Finder:
    """Finds compounds in a graph.

    Args:
        infos: Shapes by the name of a value.
        constants: Names of the tensors that never change.
    """

    def __init__(self, infos: Mapping[str, TensorInfo], constants: frozenset[str]) -> None:
        self._infos, self._constants = infos, constants
        self._formulas: dict[str, list[tuple[str, Formula]]] = {}
        for name, patterns in FORMULAS:
            for pattern in patterns:
                for op in str(pattern[0]).split("|"):
                    self._formulas.setdefault(op, []).append((name, pattern))

    def find(self, nodes: Sequence[ir.Node], names: frozenset[str]) -> Mapping[ir.Node, Compound]:
        """Return for each node that belongs to a compound that compound.

        Args:
            nodes: Of one graph, in order.
            names: Which to look for: names in `CLASS_OF_COMPOUND`, or `product`.
        """
        order = {node: index for index, node in enumerate(nodes)}
        found: dict[ir.Node, Compound] = {}
        looks = {"attention": self._attention, "product": self._product, "split": self._split}
        for look in (self._formula, *(look for name, look in looks.items() if name in names)):
            for node in reversed(nodes):
                if node in found:
                    continue
                for name, members in look(node):
                    if name in {*names, ""} and all(each in order and each not in found for each in members):
                        compound = Compound(name, node, tuple(sorted(members, key=order.__getitem__)))
                        found.update(dict.fromkeys(compound.nodes, compound))
                        break
        return found

    def _formula(self, node: ir.Node) -> Iterator[tuple[str, Sequence[ir.Node]]]:
        for name, pattern in self._formulas.get(node.op_type, ()):
            if members := matched(node, pattern, self._constants):
                yield name, members

    def _attention(self, last: ir.Node) -> Iterator[tuple[str, Sequence[ir.Node]]]:
        """Yield softmax(scale · q·kᵀ + mask)·v, with what scales or turns q and k for it alone."""
        if last.op_type != "MatMul" or last.inputs[0] is None or last.inputs[0].name in self._constants:
            return
        behind = self._chain(last.inputs[0], "Softmax")
        before = self._chain(behind[-1].inputs[0], "MatMul") if behind else ()
        if before:
            scores = [node for _, nodes in self._product(before[-1]) for node in nodes]
            yield "attention", list(dict.fromkeys((last, *behind, *before, *scores)))

    def _chain(self, value: ir.Value | None, op: str) -> tuple[ir.Node, ...]:
        """Return the nodes from a value back to an operator, masks and scales between; none if not so."""
        node = value.producer() if value is not None else None
        if node is None or node.domain or only_reader(node) is None:
            return ()
        if node.op_type == op:
            return (node,)
        if node.op_type not in _BETWEEN:
            return ()
        for source in self._activations(node):
            if rest := self._chain(source, op):
                return (node, *rest)
        return ()

    def _product(self, node: ir.Node) -> Iterator[tuple[str, Sequence[ir.Node]]]:
        """Yield a product with the scales and transpositions that it can do on the way."""
        if node.op_type != "MatMul" or node.domain:
            return
        members = [node]
        for value in node.inputs:
            while value is not None and (maker := value.producer()) is not None and self._absorbed(maker):
                members.append(maker)
                value = next(iter(self._activations(maker)), None)
        reader = only_reader(node)
        if reader is not None and self._is_scale(reader):
            members.append(reader)
        if len(members) > 1:
            yield "", members

    def _absorbed(self, node: ir.Node) -> bool:
        if only_reader(node) is None:
            return False
        turned = list(node.attributes.get_ints("perm", ())) if node.op_type == "Transpose" else []
        rank = len(turned)
        swaps = rank > 1 and turned == [*range(rank - 2), rank - 1, rank - 2]
        return swaps or self._is_scale(node)

    def _is_scale(self, node: ir.Node) -> bool:
        if node.domain or node.op_type not in ("Div", "Mul") or len(self._activations(node)) != 1:
            return False
        factors = [v for v in node.inputs if v is not None and v.name in self._constants]
        return all(self._elements(factor) == 1 for factor in factors)

    def _split(self, node: ir.Node) -> Iterator[tuple[str, Sequence[ir.Node]]]:
        """Yield the selections that together take a tensor apart: a Split in other words."""
        source = node.inputs[0] if node.inputs else None
        if node.op_type not in _SELECTIONS or source is None or source.name in self._constants:
            return
        parts = readers(source)
        alike = all(part.op_type == node.op_type and self._is_range(part) for part in parts)
        whole = sum(self._elements(part.outputs[0]) for part in parts) == self._elements(source)
        if len(parts) > 1 and alike and whole and not source.is_graph_output():
            yield "split", parts

    def _is_range(self, node: ir.Node) -> bool:
        """Return whether a selection takes neighbours: without steps, or one index."""
        from onnx_ir.convenience import get_const_tensor

        if node.op_type == "Gather":
            index = node.inputs[1]
            return index is not None and index.name in self._constants and self._elements(index) == 1
        steps = node.inputs[4] if len(node.inputs) > 4 else None
        if steps is None:
            return True
        held = get_const_tensor(steps)
        return held is not None and bool((held.numpy() == 1).all())

    def _activations(self, node: ir.Node) -> list[ir.Value]:
        return [v for v in node.inputs if v is not None and v.name not in self._constants]

    def _elements(self, value: ir.Value) -> int:
        info = self._infos.get(value.name or "")
        return info.elements if info is not None else 0
