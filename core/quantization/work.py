"""What a node has to do, in the terms its time is predicted from."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.shapes import Shapes

Shape = tuple[int, ...]

# float convolutions run on blocks of channels; depthwise ones of other numbers take a slow path
CHANNEL_BLOCK = 16
PRODUCTS = frozenset({"Gemm", "MatMul"})


@dataclass(frozen=True)
class Work:
    """The size of one kernel call.

    Attributes:
        kind: `convolution`, `pointwise`, `depthwise`, `uneven depthwise`, `grouped`, `product`, or the
            operator's type.
        macs: Multiply-accumulates.
        elements: Values read and written: of convolutions and products input + output, else the larger.
        gathered: Values that a convolution copies first so that it can multiply matrices: output positions ·
            kernel · input channels.
        depth: Length of its dot products.
        width: Output channels, of one group.
        positions: Output positions: pixels, or rows.
    """

    kind: str
    macs: int
    elements: int
    gathered: int = 0
    depth: int = 1
    width: int = 1
    positions: int = 1


def work(node: ir.Node, shapes: Shapes) -> Work | None:
    """Return what a node has to do; None where a shape is unknown."""
    made = _shape(node.outputs[0], shapes)
    read = _shape(node.inputs[0], shapes) if node.inputs else None
    if made is None or read is None:
        return None
    weight = _shape(node.inputs[1], shapes) if len(node.inputs) > 1 else None
    if node.op_type == "Conv" and weight is not None:
        return convolution(node.attributes.get_int("group", 1) or 1, read, weight, made)
    if node.op_type in PRODUCTS and weight is not None:
        depth, width = prod(weight) // made[-1], made[-1]
        rows = prod(made) // max(1, width)
        return Work("product", prod(made) * depth, prod(read) + prod(made), 0, depth, width, rows)
    return Work(node.op_type, 0, max(prod(read), prod(made)))


def convolution(group: int, read: Shape, weight: Shape, made: Shape) -> Work:
    """Return the work of a convolution from the shapes of input, weight and output, channels second."""
    depth, positions = prod(weight[1:]), prod(made[2:])
    kernel = prod(weight[2:])
    kind = "convolution" if kernel > 1 else "pointwise"
    if group > 1:
        kind = "grouped" if weight[1] > 1 else "depthwise"
    if kind == "depthwise" and weight[0] % CHANNEL_BLOCK:
        kind = "uneven depthwise"
    copies = kind in ("convolution", "grouped")
    return Work(
        kind,
        macs=prod(made) * depth,
        elements=prod(read) + prod(made),
        gathered=positions * depth * group if copies else 0,
        depth=depth,
        width=max(1, weight[0] // group),
        positions=positions,
    )


def _shape(value: ir.Value | None, shapes: Shapes) -> Shape | None:
    info = None if value is None else shapes.get(value.name or "")
    return None if info is None else info.shape
