"""Where onnxruntime's CPU kernels keep tensors in blocks of channels, and where it moves them in and out.

Convolutions and poolings run on blocks; what follows stays there if it can: activations, sums and products of
equal shapes, concatenations of whole blocks, resizing. All else needs the plain layout. The conditions are
those of onnxruntime's `nchwc_transformer.cc`, as its optimized graphs show them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.tensor_info import TensorInfo

# channels in a block: 16 with AVX-512, 8 with AVX2
BLOCK = 16
# the input of a convolution has a multiple of so many channels
_ALIGNED = 4
_POOLS = frozenset({"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"})
_FOLLOWING_NAMES = """
    BatchNormalization Clip Gelu HardSigmoid HardSwish LeakyRelu Relu Resize Sigmoid Tanh Upsample gelu
    hardswish silu
"""
_FOLLOWS = frozenset(_FOLLOWING_NAMES.split())
_JOINS = frozenset({"Add", "Mul", "Sum"})
_TO_CHANNELS_LAST, _TO_CHANNELS_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


class Layout:
    """Follows the layout of tensors through a graph, node by node in order."""

    def __init__(self, infos: Mapping[str, TensorInfo]) -> None:
        self._infos = infos
        self.blocked: set[str] = set()

    def is_blocked(self, value: ir.Value | None) -> bool:
        """Return whether a tensor is kept in blocks."""
        return value is not None and value.name in self.blocked

    def follows(self, name: str, sources: Sequence[ir.Value]) -> bool:
        """Return whether an operator, or a compound of this name, keeps the blocks that it reads."""
        return name in _FOLLOWS and bool(sources) and all(map(self.is_blocked, sources))

    def runs_blocked(self, node: ir.Node) -> bool:
        """Return whether a node reads and makes blocks."""
        shapes = [self._shape(value) for value in node.inputs[:2]]
        if node.domain or not shapes or len(shapes[0]) != 4:
            return False
        if node.op_type == "Conv":
            return self._convolves(node, shapes[0][1], shapes[1][0])
        if node.op_type in _POOLS:
            return shapes[0][1] % BLOCK == 0
        return self._joins(node)

    def takes_plain(self, node: ir.Node) -> bool:
        """Return whether a convolution on blocks reads the plain layout itself, as of images."""
        if node.op_type != "Conv" or node.attributes.get_int("group", 1) > 1:
            return False
        return self._shape(node.inputs[0])[1] < BLOCK

    def is_reordering(self, node: ir.Node) -> bool:
        """Return whether a transposition is done where a tensor is moved in or out of blocks anyway."""
        order = list(node.attributes.get_ints("perm", ())) if node.op_type == "Transpose" else []
        if order == _TO_CHANNELS_LAST:
            return self.is_blocked(node.inputs[0])
        readers = node.outputs[0].consumers() if order == _TO_CHANNELS_FIRST else ()
        return bool(readers) and all(each.op_type == "Conv" and self.runs_blocked(each) for each in readers)

    def _convolves(self, node: ir.Node, inputs: int, outputs: int) -> bool:
        groups = node.attributes.get_int("group", 1)
        if groups == 1:
            return inputs < BLOCK or inputs % _ALIGNED == 0
        if groups == inputs == outputs:
            return outputs % _ALIGNED == 0
        return inputs // groups % BLOCK == 0 and outputs // groups % BLOCK == 0

    def _joins(self, node: ir.Node) -> bool:
        if not all(self.is_blocked(value) for value in node.inputs):
            return False
        if node.op_type in _JOINS:
            return len({self._shape(value) for value in node.inputs}) == 1
        whole = all(self._shape(value)[1] % BLOCK == 0 for value in node.inputs)
        return node.op_type == "Concat" and node.attributes.get_int("axis", 1) == 1 and whole

    def _shape(self, value: ir.Value | None) -> tuple[int, ...]:
        info = self._infos.get(value.name or "") if value is not None else None
        return info.shape if info is not None else ()
