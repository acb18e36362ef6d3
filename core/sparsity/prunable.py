"""Which weights can be pruned: the constant operand of every matrix product, found once each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    Array = np.ndarray[Any, Any]

FLOATS = frozenset({"FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE"})
# matrix products over integers: their weights are quantized already
QUANTIZED_OPS = frozenset(
    {
        "ConvInteger",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "QGemm",
        "QLinearConv",
        "QLinearMatMul",
    }
)


@dataclass(frozen=True)
class Weight:
    """A constant float operand of one or more matrix products.

    Attributes:
        value: The initializer, or the output of the Constant node, that holds it.
        nodes: The nodes that multiply with it, in graph order.
        axis: The axis along which products are summed up: the input channels.
    """

    value: ir.Value
    nodes: tuple[ir.Node, ...]
    axis: int

    @property
    def node_name(self) -> str:
        """The name of the first node that uses it."""
        return self.nodes[0].name or ""

    def read(self) -> Array:
        """Return its content; may be a read-only view of a mapped file."""
        tensor = tensor_of(self.value)
        assert tensor is not None
        return tensor.numpy()

    def matrix_order(self, dims: int) -> tuple[int, ...]:
        """Return the order of axes in which the weight is a matrix of (outputs, inputs) once flattened.

        Convolutions: the output channels, then all others (input channels and kernel positions); everything
        else: all others, then the axis that is summed up.
        """
        first = {"Conv": 0, "ConvTranspose": 1}.get(self.nodes[0].op_type)
        if first is not None:
            return (first, *(axis for axis in range(dims) if axis != first))
        last = self.axis % dims
        return (*(axis for axis in range(dims) if axis != last), last)

    def matrix_rows(self, shape: tuple[int, ...]) -> int:
        """Return the number of outputs, the rows of that matrix."""
        order = self.matrix_order(len(shape))
        outputs = order[:1] if self.nodes[0].op_type in ("Conv", "ConvTranspose") else order[:-1]
        return prod(shape[axis] for axis in outputs)

    def to_matrix(self, array: Array) -> Array:
        """Return an array of the weight's shape as that matrix."""
        turned = array.transpose(self.matrix_order(array.ndim))
        matrix: Array = turned.reshape(self.matrix_rows(array.shape), -1)
        return matrix

    def from_matrix(self, matrix: Array, shape: tuple[int, ...]) -> Array:
        """Return such a matrix as an array of the weight's shape."""
        import numpy as np

        order = self.matrix_order(len(shape))
        turned = matrix.reshape([shape[axis] for axis in order])
        return np.ascontiguousarray(turned.transpose(sorted(range(len(shape)), key=order.__getitem__)))


def find(model: ir.Model) -> tuple[list[Weight], dict[str, str]]:
    """Return the prunable weights in graph order, subgraphs included, and why other products have none.

    Prunable is the weight of Conv and ConvTranspose, the constant operand of Gemm and MatMul, and W and R of
    LSTM, GRU and RNN, if it is of a float type. Biases are not. A weight that several nodes share is found
    once. Bodies of local functions are not looked at.

    Returns:
        The weights, and by node name the reason why a product is left alone.
    """
    uses: dict[ir.Value, list[tuple[ir.Node, int]]] = {}
    left: dict[str, str] = {}
    for graph in model.graphs():
        for node in graph:
            for value, axis, reason in _operands(node):
                if value is None or reason:
                    left[node.name or ""] = reason
                else:
                    uses.setdefault(value, []).append((node, axis))
    weights = [Weight(value, tuple(node for node, _ in found), found[0][1]) for value, found in uses.items()]
    return weights, left


def tensor_of(value: ir.Value) -> ir.TensorProtocol | None:
    """Return what an initializer (even one that is also an input) or a Constant node holds, else None."""
    import onnx_ir as ir

    return ir.convenience.get_const_tensor(value)


def _operands(node: ir.Node) -> Iterator[tuple[ir.Value | None, int, str]]:
    """Yield (value, reduction axis, why it cannot be pruned or "") for the weights of one node."""
    if node.op_type in QUANTIZED_OPS:
        yield None, 0, "its weights are quantized"
    if node.op_type not in _OPERANDS or node.domain != "":
        return
    operands = list(_OPERANDS[node.op_type](node))
    constant = [(value, axis) for value, axis in operands if tensor_of(value) is not None]
    for value, axis in constant:
        tensor = tensor_of(value)
        assert tensor is not None
        yield (
            value,
            axis,
            "" if tensor.dtype.name in FLOATS else f"its weights are {tensor.dtype.name.lower()}",
        )
    if operands and not constant:
        yield None, 0, _why_not_constant(value for value, _ in operands)


def _why_not_constant(values: Iterator[ir.Value]) -> str:
    makers = {producer.op_type for value in values if (producer := value.producer()) is not None}
    if "DequantizeLinear" in makers:
        return "its weights are quantized"
    return "its weights are not constant"


def _conv(node: ir.Node) -> Iterator[tuple[ir.Value, int]]:
    """(C_out, C_in / groups, *kernel)."""
    yield from _given(node, 1, 1)


def _conv_transpose(node: ir.Node) -> Iterator[tuple[ir.Value, int]]:
    """(C_in, C_out / groups, *kernel)."""
    yield from _given(node, 1, 0)


def _gemm(node: ir.Node) -> Iterator[tuple[ir.Value, int]]:
    """A is (M, K), B is (K, N); either may be transposed."""
    yield from _given(node, 1, 1 if node.attributes.get_int("transB", 0) else 0)
    yield from _given(node, 0, 0 if node.attributes.get_int("transA", 0) else 1)


def _matmul(node: ir.Node) -> Iterator[tuple[ir.Value, int]]:
    """A is (…, M, K), B is (…, K, N) or (K,)."""
    for index, axis in ((1, -2), (0, -1)):
        for value, _ in _given(node, index, axis):
            tensor = tensor_of(value)
            yield value, -1 if tensor is not None and len(tensor.shape) < 2 else axis


def _recurrent(node: ir.Node) -> Iterator[tuple[ir.Value, int]]:
    """W is (directions, gates · hidden, input), R is (directions, gates · hidden, hidden)."""
    yield from _given(node, 1, 2)
    yield from _given(node, 2, 2)


def _given(node: ir.Node, index: int, axis: int) -> Iterator[tuple[ir.Value, int]]:
    value = node.inputs[index] if len(node.inputs) > index else None
    if value is not None:
        yield value, axis


_OPERANDS: dict[str, Callable[[ir.Node], Iterator[tuple[ir.Value, int]]]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "GRU": _recurrent,
    "Gemm": _gemm,
    "LSTM": _recurrent,
    "MatMul": _matmul,
    "RNN": _recurrent,
}
