"""Parameters of a model: how many, how many zeros among them, how many bytes they take as stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_pare.cost.call import operator
from onnx_pare.cost.macs import MACS
from onnx_pare.cost.slots import NOT_PARAMS, QUANTIZED, SCALAR_PARAMS
from onnx_pare.cost.zeros import ZeroPoint, nonzero, nonzeros, packed_nonzeros

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    from onnx_pare.graph.shapes import Shapes

    Array = np.ndarray[Any, Any]

_NARROW = frozenset({"int2", "int4", "int8", "uint2", "uint4", "uint8"})
_FLOATS = ("float", "bfloat", "complex")


@dataclass(frozen=True)
class Weight:
    """One stored tensor of parameters.

    Attributes:
        name: Of the tensor as stored; two nodes with the same name share it.
        params: Its elements.
        nonzero: Those that are not exactly zero; for a quantized tensor, not its zero point.
        size_bytes: Bytes as stored: a quarter of float32 for an int8 tensor. Scales are not included.
        rank: Its number of dimensions where it is used.
        dtype: Its element type as stored.
    """

    name: str
    params: int
    nonzero: int
    size_bytes: int
    rank: int
    dtype: str


class Weights:
    """Looks up the weights of nodes; each tensor is read once."""

    def __init__(self, shapes: Shapes, constants: frozenset[str]) -> None:
        self._shapes = shapes
        self._constants = constants
        self._read: dict[str, int] = {}

    def at(self, node: ir.Node, slot: int) -> list[Weight]:
        """Return the stored tensors that an input of a node is made of; none if it holds no parameters.

        Weights are constant float tensors and, where the operator takes quantized ones, integer tensors. A
        tensor made of others when the model loads (dequantized, transposed, concatenated) stands for those.
        Scales, shapes, limits, initial states, and single numbers in element-wise formulas are no parameters.
        """
        value = node.inputs[slot] if slot < len(node.inputs) else None
        op = operator(node)
        if value is None or value.name not in self._constants or slot in NOT_PARAMS.get(op, ()):
            return []
        info = self._shapes.get(value.name or "")
        if info is None:
            return []
        quantized = QUANTIZED.get(op, {}).get(slot)
        if op == "Gather" and slot == 0 and len(info.shape) > 1 and info.dtype in _NARROW:
            quantized = -1  # an embedding; tables of indices are wider
        if quantized is None and not info.dtype.startswith(_FLOATS):
            return []
        if info.elements == 1 and op not in SCALAR_PARAMS and op not in MACS:
            return []
        if op == "com.microsoft:MatMulNBits" and slot == 1:
            return [self._packed(node, value)]
        roots = self._roots(value, _zero_point(node, quantized))
        return [self._weight(root, zero, len(info.shape)) for root, zero in roots]

    def of(self, node: ir.Node) -> list[Weight]:
        """Return all stored tensors of parameters that a node reads, each once."""
        found = (weight for slot in range(len(node.inputs)) for weight in self.at(node, slot))
        return list({weight.name: weight for weight in found}.values())

    def nonzero(self, node: ir.Node, slot: int) -> Array | None:
        """Return which weights of an input are not zero, in the shape that the node sees.

        None if it is not stored in that shape (packed, transposed, put together when the model loads).
        """
        value = node.inputs[slot]
        info = None if value is None else self._shapes.get(value.name or "")
        if value is None or info is None or operator(node) == "com.microsoft:MatMulNBits":
            return None
        roots = self._roots(value, _zero_point(node, QUANTIZED.get(operator(node), {}).get(slot)))
        maker = value.producer()
        source = maker.inputs[0] if maker is not None and maker.op_type == "DequantizeLinear" else value
        if len(roots) != 1 or roots[0][0] is not source:
            return None
        kept = nonzero(*roots[0])
        return None if kept is None or kept.shape != info.shape else kept != 0

    def _roots(self, value: ir.Value, zero: ZeroPoint) -> list[tuple[ir.Value, ZeroPoint]]:
        """Follow a constant back to the tensors it is stored in, each with its zero point."""
        node = value.producer()
        if node is None or node.op_type in ("Constant", "ConstantOfShape"):
            return [(value, zero)]
        if node.op_type == "DequantizeLinear":
            data = node.inputs[0]
            point = ZeroPoint(_input(node, 2), node.attributes.get_int("axis", 1))
            return self._roots(data, point) if data is not None else []
        given = [source for source in node.inputs if source is not None]
        if node.op_type == "Concat":
            return [root for source in given for root in self._roots(source, zero)]
        largest = max(given, key=self._elements, default=None)
        return self._roots(largest, zero) if largest is not None else []

    def _elements(self, value: ir.Value) -> int:
        info = self._shapes.get(value.name or "")
        return info.elements if info is not None else 0

    def _weight(self, root: ir.Value, zero: ZeroPoint, rank: int) -> Weight:
        info = self._shapes[root.name or ""]
        name = root.name or ""
        if name not in self._read:
            self._read[name] = nonzeros(root, zero, info.elements)
        return Weight(name, info.elements, self._read[name], info.size_bytes, rank, info.dtype)

    def _packed(self, node: ir.Node, value: ir.Value) -> Weight:
        columns, rows = (node.attributes.get_int(name, 0) for name in "KN")
        bits = node.attributes.get_int("bits", 4)
        name = value.name or ""
        if name not in self._read:
            self._read[name] = packed_nonzeros(node)
        size = self._shapes[name].size_bytes
        return Weight(name, columns * rows, self._read[name], size, 2, f"uint{bits}")


def sparsity(weights: Sequence[Weight]) -> float:
    """Return the fraction of exact zeros; biases (one dimension) count only where there is nothing else."""
    matrices = [weight for weight in weights if weight.rank > 1] or weights
    params = sum(weight.params for weight in matrices)
    return 1 - sum(weight.nonzero for weight in matrices) / params if params else 0.0


def distinct(weights: Iterable[Weight]) -> list[Weight]:
    """Return each stored tensor once."""
    return list({weight.name: weight for weight in weights}.values())


def _dequantizer(node: ir.Node) -> ir.Node | None:
    """Return what dequantizes the rows that a lookup takes from a quantized embedding."""
    readers = node.outputs[0].consumers()
    return next((reader for reader in readers if reader.op_type == "DequantizeLinear"), None)


def _zero_point(node: ir.Node, slot: int | None) -> ZeroPoint:
    """Convolutions have a zero point for each output channel, the first axis; matrices for each column."""
    dequantizer = _dequantizer(node) if node.op_type == "Gather" else None
    if dequantizer is not None:
        return ZeroPoint(_input(dequantizer, 2))
    if slot is None or slot < 0:
        return ZeroPoint()
    transposed = "Conv" in node.op_type or node.attributes.get_int("transB", 0) == 1
    return ZeroPoint(_input(node, slot), axis=0 if transposed else -1)


def _input(node: ir.Node, slot: int) -> ir.Value | None:
    return node.inputs[slot] if slot < len(node.inputs) else None
