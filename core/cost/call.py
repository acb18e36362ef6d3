"""What a counting rule sees of a node: its attributes, and the shapes around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_pare.graph.tensor_info import TensorInfo

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.shapes import Shapes


class UncountedError(Exception):
    """A node cannot be counted; the message says why."""


@dataclass(frozen=True)
class Call:
    """One node with the shapes of its inputs and outputs; None where left out or unknown."""

    node: ir.Node
    inputs: Sequence[TensorInfo | None]
    outputs: Sequence[TensorInfo | None]

    def input(self, position: int) -> tuple[int, ...]:
        """Return the shape of an input.

        Raises:
            UncountedError: It is left out, or its shape is unknown.
        """
        return _shape(self.inputs, position, "input")

    def output(self, position: int = 0) -> tuple[int, ...]:
        """Return the shape of an output.

        Raises:
            UncountedError: It is left out, or its shape is unknown.
        """
        return _shape(self.outputs, position, "output")

    def optional(self, position: int) -> tuple[int, ...] | None:
        """Return the shape of an input, None if it is left out.

        Raises:
            UncountedError: Its shape is unknown.
        """
        given = self.node.inputs[position] if position < len(self.node.inputs) else None
        return None if given is None else self.input(position)

    def integer(self, name: str, default: int) -> int:
        """Return an integer attribute."""
        return self.node.attributes.get_int(name, default)


def call(node: ir.Node, shapes: Shapes) -> Call:
    """Look up the shapes around a node."""
    inputs = [None if value is None else shapes.get(value.name or "") for value in node.inputs]
    return Call(node, inputs, [shapes.get(value.name or "") for value in node.outputs])


def operator(node: ir.Node) -> str:
    """Return the key of the tables: `Conv`, or `com.microsoft:FusedConv`."""
    return f"{node.domain}:{node.op_type}" if node.domain else node.op_type


def _shape(infos: Sequence[TensorInfo | None], position: int, kind: str) -> tuple[int, ...]:
    info = infos[position] if position < len(infos) else None
    if info is None:
        raise UncountedError(f"the shape of {kind} {position} is unknown")
    return info.shape
