"""Writing quantized weights into a graph as codes and scales, and the nodes that restore floats from them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.graph.edit import Names, add_initializer
from onnx_pare.quantization.levels import Levels
from onnx_pare.quantization.weight_only import Quantized

if TYPE_CHECKING:
    import onnx_ir as ir

Array = np.ndarray[Any, Any]
# the opset that brought 4-bit integers and scales per block
NARROW_OPSET, NARROW_IR = 21, 10


@dataclass(frozen=True)
class Layout:
    """How a weight is a matrix of outputs by inputs.

    Attributes:
        shape: The weight's shape.
        order: Its axes, those of the outputs first.
        outputs: How many of these belong to the outputs.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]
    outputs: int

    @property
    def turned(self) -> tuple[int, ...]:
        """The shape with its axes in `order`."""
        return tuple(self.shape[axis] for axis in self.order)

    @property
    def matrix(self) -> tuple[int, int]:
        """The shape of the matrix."""
        return prod(self.turned[: self.outputs]), prod(self.turned[self.outputs :])

    @property
    def back(self) -> tuple[int, ...]:
        """The order that undoes `order`."""
        return tuple(self.order.index(axis) for axis in range(len(self.order)))

    def flatten(self, weight: Array) -> Array:
        """Return the weight as a matrix."""
        matrix: Array = weight.transpose(self.order).reshape(self.matrix)
        return matrix

    def unflatten(self, matrix: Array) -> Array:
        """Undo `flatten`."""
        return np.ascontiguousarray(matrix.reshape(self.turned).transpose(self.back))

    def per_output(self, scales: Array) -> Array:
        """Return one number per output in a shape that broadcasts to the weight's."""
        inputs = [1] * (len(self.order) - self.outputs)
        return np.ascontiguousarray(
            scales.reshape(*self.turned[: self.outputs], *inputs).transpose(self.back)
        )


class _Writer:
    """Adds initializers and nodes to the front of the graph that owns a value."""

    def __init__(self, value: ir.Value, graph: ir.Graph, names: Names) -> None:
        self.value, self.graph, self._names = value, graph, names
        self.nodes: list[ir.Node] = []

    def constant(self, suffix: str, array: Array) -> ir.Value:
        return add_initializer(self.graph, self._names.new(f"{self.value.name}_{suffix}"), array)

    def node(self, op: str, inputs: Sequence[ir.Value], **attributes: Any) -> ir.Value:
        import onnx_ir as ir

        name = self._names.new(f"{self.value.name}_{op}")
        made = ir.node(op, list(inputs), attributes=attributes or None, name=name)
        made.outputs[0].name = name  # names are a good part of what small weights take
        self.nodes.append(made)
        return made.outputs[0]

    def replace(self, restored: ir.Value) -> None:
        """Put the restored weight in the place of the stored one, under its name."""
        self.graph.insert_before(self.graph[0], self.nodes)
        self.value.replace_all_uses_with(restored)
        name = self.value.name
        drop(self.value, self.graph)
        restored.name = name


def drop(value: ir.Value, graph: ir.Graph) -> None:
    """Remove an initializer, or the Constant node that makes it, from its graph; nothing uses it any more."""
    producer = value.producer()
    if producer is None:
        graph.initializers.pop(value.name or "")
    else:
        graph.remove(producer, safe=True)


def write_cast(
    value: ir.Value,
    graph: ir.Graph,
    layout: Layout,
    found: Quantized,
    levels: Levels,
    names: Names,
    tables: dict[ir.Graph, ir.Value],
) -> int:
    """Store the codes, and restore the weight by operators that runtimes compute once, as they load.

    uniform: Cast → Mul by the scales; log: Cast → Gather from the table of levels → Mul. Blocks are turned
    into the weight's shape behind it: Reshape, Slice where the last block is not full, Transpose.

    Args:
        value: The weight: an initializer, or the output of a Constant node.
        graph: Its graph.
        layout: How it is a matrix.
        found: That matrix, quantized.
        levels: What its codes stand for.
        names: Free names of the model.
        tables: The table of log levels that each graph holds already; a new one is added.

    Returns:
        The bytes stored.
    """
    import onnx_ir as ir

    write = _Writer(value, graph, names)
    whole = found.scales.shape[1] == 1
    codes = layout.unflatten(found.codes) if whole else _in_blocks(found, levels)
    scales = layout.per_output(found.scales) if whole else found.scales[:, :, None]
    stored = [write.constant("codes", narrow(codes, levels.bits)), write.constant("scale", scales)]
    if levels.uniform:
        numbers = write.node("Cast", stored[:1], to=int(ir.DataType.FLOAT))
    else:
        if graph not in tables:
            tables[graph] = write.constant("levels", levels.table())
        index = write.node("Cast", stored[:1], to=int(ir.DataType.INT32))
        numbers = write.node("Gather", [tables[graph], index], axis=0)
    restored = write.node("Mul", [numbers, stored[1]])
    write.replace(restored if whole else _out_of_blocks(write, restored, layout, found))
    return sum(_bytes(each) for each in stored)


def _in_blocks(found: Quantized, levels: Levels) -> Array:
    """Return the codes as (R, blocks, block), the last block filled up with zeros."""
    rows, columns = found.codes.shape
    blocks = found.scales.shape[1]
    zero = levels.encode(np.zeros(1, np.float32))[0]
    padded = np.full((rows, blocks * found.block), zero, found.codes.dtype)
    padded[:, :columns] = found.codes
    return padded.reshape(rows, blocks, found.block)


def _out_of_blocks(write: _Writer, restored: ir.Value, layout: Layout, found: Quantized) -> ir.Value:
    rows, columns = found.codes.shape
    padded = found.scales.shape[1] * found.block
    if padded != columns:
        restored = write.node("Reshape", [restored, write.constant("padded", np.array([rows, padded]))])
        ends = [write.constant(f"slice_{end}", np.array([end])) for end in (0, columns)]
        restored = write.node("Slice", [restored, *ends, write.constant("slice_axis", np.array([1]))])
    restored = write.node("Reshape", [restored, write.constant("shape", np.array(layout.turned))])
    if list(layout.order) != sorted(layout.order):
        restored = write.node("Transpose", [restored], perm=list(layout.back))
    return restored


def write_dequantize(
    value: ir.Value, graph: ir.Graph, layout: Layout, found: Quantized, levels: Levels, names: Names
) -> int:
    """Store the codes and restore the weight by DequantizeLinear, of opset 13 per output, 21 per block.

    Blocks run along one axis; those that cover several (the inputs and kernel positions of a convolution) are
    stored as a matrix, with a Reshape behind DequantizeLinear. Arguments as for `write_cast`.

    Returns:
        The bytes stored.
    """
    write = _Writer(value, graph, names)
    axis = per_output_axis(layout) if found.scales.shape[1] == 1 else None
    direct = axis is not None or len(layout.order) - layout.outputs == 1
    codes = layout.unflatten(found.codes) if direct else found.codes
    scales = found.scales.reshape(-1)
    attributes = {"axis": axis} if axis is not None else {"axis": 1, "block_size": found.block}
    if direct and axis is None:
        turned = found.scales.reshape(*layout.turned[: layout.outputs], -1)
        scales = np.ascontiguousarray(turned.transpose(layout.back))
        attributes["axis"] = layout.order[-1]
    elif axis is None:
        scales = found.scales
    stored = [write.constant("codes", narrow(codes, levels.bits)), write.constant("scale", scales)]
    restored = write.node("DequantizeLinear", stored, **attributes)
    if not direct:
        restored = write.node("Reshape", [restored, write.constant("shape", np.array(layout.turned))])
        if list(layout.order) != sorted(layout.order):
            restored = write.node("Transpose", [restored], perm=list(layout.back))
    write.replace(restored)
    return sum(_bytes(each) for each in stored)


def per_output_axis(layout: Layout) -> int | None:
    """Return the one axis that counts outputs; None if several longer than 1 do."""
    axes = [axis for axis in layout.order[: layout.outputs] if layout.shape[axis] > 1]
    return None if len(axes) > 1 else (axes or layout.order[:1])[0]


@cache
def casts_4_bits() -> bool:
    """Return whether the installed onnxruntime casts 4-bit integers; 1.20 does not."""
    import onnx_ir as ir

    from onnx_pare.graph.save import write_model
    from onnx_pare.graph.session import Session, SessionError

    model = ir.from_onnx_text(
        f'<ir_version: {NARROW_IR}, opset_import: ["": {NARROW_OPSET}]> '
        "g (float[2] x) => (float[2] y) { f = Cast <to = 1> (x)  y = Add (x, f) }"
    )
    codes = add_initializer(model.graph, "codes", narrow(np.ones(2, np.int8), 4))
    model.graph[0].replace_input_with(0, codes)
    with tempfile.TemporaryDirectory(prefix="onnx-pare-") as folder:
        path = Path(folder) / "cast.onnx"
        write_model(model, path)
        try:
            Session(path)
        except SessionError:
            return False
    return True


def narrow(codes: Array, bits: int) -> Array:
    """Return int8 or uint8 codes in the element type they are stored in: of 4 bits, two to a byte."""
    import ml_dtypes

    if bits == 8:
        return codes
    return codes.astype(ml_dtypes.int4 if codes.dtype == np.int8 else ml_dtypes.uint4)


def _bytes(value: ir.Value) -> int:
    assert value.const_value is not None
    return value.const_value.nbytes
