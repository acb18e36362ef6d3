"""The bytes of activations that each node reads and writes, run by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from onnx_pare.cost.fused import fused
from onnx_pare.cost.memory import VIEWS, reads

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.shapes import Shapes


class Traffic:
    """Looks up the traffic of the nodes of one graph.

    Tensors count as they are stored: between Q/DQ pairs that run on integers, as integers (see `fused`).
    Views move nothing, and what a node reads twice it reads once. Constants are no activations.
    """

    def __init__(self, nodes: Sequence[ir.Node], shapes: Shapes, constants: frozenset[str]) -> None:
        self._shapes, self._constants = shapes, constants
        self._quantized = fused(nodes, constants)

    def of(self, node: ir.Node) -> tuple[int, int]:
        """Return how many bytes a node reads and writes, unknown shapes counting as nothing."""
        if node in self._quantized.views or (node.op_type in VIEWS and not node.domain):
            return 0, 0
        read = {name for name in reads(node) if name not in self._constants}
        written = {value.name for value in node.outputs if value.name}
        return sum(map(self._bytes, read)), sum(map(self._bytes, written))

    def _bytes(self, name: str) -> int:
        info = self._shapes.get(self._quantized.stored_as.get(name, name))
        return info.size_bytes if info is not None else 0
