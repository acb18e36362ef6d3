"""What a node is told to do, as attributes or, in later opsets, as inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_pare.graph.axes import Axes, NotUnderstoodError
from onnx_pare.graph.edit import inputs_used

if TYPE_CHECKING:
    import onnx_ir as ir


def numbers(axes: Axes, node: ir.Node, attribute: str, place: int) -> list[int] | None:
    """Return integers that a node is given as an attribute or, in later opsets, as an input; None if not.

    Raises:
        NotUnderstoodError: They are computed.
    """
    if attribute in node.attributes:
        given = node.attributes[attribute].value
        return list(given) if isinstance(given, (list, tuple)) else [int(given)]
    value = node.inputs[place] if len(node.inputs) > place else None
    if value is None:
        return None
    array = axes.content(value)
    if array is None:
        raise NotUnderstoodError(f"its {attribute} are computed")
    return [int(number) for number in array.reshape(-1)]


def given_axes(axes: Axes, node: ir.Node, place: int = 1) -> list[int] | None:
    """Return the axes that a node names, counted from the front of its input; None if it names none."""
    found = numbers(axes, node, "axes", place)
    rank = len(axes.known(inputs_used(node)[0]))
    return None if found is None else [axis % rank for axis in found]
