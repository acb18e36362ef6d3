"""Counting the exact zeros of stored weights; for quantized ones, what equals the zero point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ZeroPoint:
    """What stands for zero in a quantized tensor: one number, one per channel of `axis`, or one per block."""

    value: ir.Value | None = None
    axis: int = 0


def array(value: ir.Value | None) -> Array | None:
    """Return the content of an initializer or Constant, None if it is computed or left out.

    The array may be a read-only view of a mapped file.
    """
    import onnx_ir as ir

    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def nonzeros(value: ir.Value, zero: ZeroPoint, elements: int) -> int:
    """Count the elements of a stored tensor that are not zero; all of them if its content is unknown.

    A ConstantOfShape is not built: all its elements are alike.
    """
    import numpy as np

    node = value.producer()
    if node is not None and node.op_type == "ConstantOfShape":
        fill = node.attributes.get("value")
        return elements if fill is not None and fill.as_tensor().numpy().any() else 0
    kept = nonzero(value, zero)
    return elements if kept is None else int(np.count_nonzero(kept))


def nonzero(value: ir.Value, zero: ZeroPoint) -> Array | None:
    """Return something that is true, or not zero, where a stored tensor is not zero; None if unknown."""
    content, point = array(value), array(zero.value)
    if content is None or point is None or not point.any():
        return content
    kept: Array = content != _spread(point, content.shape, zero.axis)
    return kept


def packed_nonzeros(node: ir.Node) -> int:
    """Count the nonzero weights of a MatMulNBits: uint8 (N, blocks, bytes), two a byte, the low one first.

    The zero point is 8, or one for each block, packed alike. Other widths are taken as all nonzero.
    Layout: com.microsoft.MatMulNBits in onnxruntime's docs/ContribOperators.md.
    """
    import numpy as np

    columns, rows = node.attributes.get_int("K", 0), node.attributes.get_int("N", 0)
    bits = node.attributes.get_int("bits", 4)
    packed, zero = array(node.inputs[1]), array(node.inputs[3] if len(node.inputs) > 3 else None)
    if packed is None or bits != 4 or (zero is not None and zero.dtype != np.uint8):
        return columns * rows
    blocks = packed.shape[1]
    weights = _nibbles(packed).reshape(rows, blocks, -1)
    points: Any = 8 if zero is None else _nibbles(zero).reshape(rows, -1)[:, :blocks, None]
    return int(np.count_nonzero((weights != points).reshape(rows, -1)[:, :columns]))


def _nibbles(packed: Array) -> Array:
    import numpy as np

    return np.stack([packed & 15, packed >> 4], axis=-1)


def _spread(point: Array, shape: tuple[int, ...], axis: int) -> Array:
    """Give the zero points a shape that broadcasts to the tensor's."""
    import numpy as np

    if point.size == 1:
        return point.reshape(())
    if point.ndim < 2 or point.ndim != len(shape):
        return point.reshape([point.size if i == axis % len(shape) else 1 for i in range(len(shape))])
    for dim, (size, blocks) in enumerate(zip(shape, point.shape, strict=True)):
        if size != blocks:
            point = np.take(np.repeat(point, -(-size // blocks), axis=dim), range(size), axis=dim)
    return point
