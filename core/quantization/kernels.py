"""Which operators onnxruntime runs in integers on a CPU, and in which part they take.

An operator between DequantizeLinear and QuantizeLinear is replaced by an integer kernel only in the forms
listed here; anywhere else the pair costs time and precision for nothing. `tests/quantization/test_kernels.py`
holds the table against the runtime: it looks for each kernel in the graph onnxruntime makes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from onnx_pare.graph.edit import constant
from onnx_pare.quantization.forms import is_gate

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir


def weight_axis(node: ir.Node) -> int | None:
    """Return the axis of an anchor's weight that its output channels lie on, None if it cannot be an anchor.

    An anchor is where the work is: a Conv, Gemm or MatMul of something computed and constant float32 weights.
    """
    rule = ANCHORS.get(node.op_type) if node.domain == "" else None
    if rule is None or len(node.inputs) < 2:
        return None
    weight = constant(node.inputs[1])
    if weight is None or weight.dtype.name != "float32" or weight.size == 0:
        return None
    if node.inputs[0] is None or constant(node.inputs[0]) is not None:
        return None
    if len(node.inputs) > 2 and node.inputs[2] is not None and constant(node.inputs[2]) is None:
        return None
    return rule(node, weight.ndim)


def _conv(node: ir.Node, rank: int) -> int | None:
    return 0


def _gemm(node: ir.Node, rank: int) -> int | None:
    """QGemm has no alpha and beta, and takes a bias of one row."""
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    plain = attributes.get("alpha", 1.0) == 1.0 and attributes.get("beta", 1.0) == 1.0
    if not plain or attributes.get("transA", 0):
        return None
    axis = 0 if attributes.get("transB", 0) else 1
    weight = constant(node.inputs[1])
    if bias is not None and weight is not None and bias.shape[-1:] != (weight.shape[axis],):
        return None
    if bias is not None and bias.size != bias.shape[-1]:
        return None
    return axis


def _matmul(node: ir.Node, rank: int) -> int | None:
    return 1 if rank == 2 else None


ANCHORS: dict[str, Callable[[ir.Node, int], int | None]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
# activations that onnxruntime makes part of a float Gemm before it looks for integer operators
GEMM_ACTIVATIONS = frozenset(
    (
        *("Elu", "HardSigmoid", "LeakyRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh"),
        "ThresholdedRelu",
    )
)

# operators with a QLinear kernel of their own, or a form made of such (`forms`), and how many inputs are data
FOLLOWERS: dict[str, int | None] = {
    "Add": 2,
    "Mul": 2,
    "Concat": None,
    "AveragePool": 1,
    "GlobalAveragePool": 1,
    "HardSigmoid": 1,
    "HardSwish": 1,
    "LeakyRelu": 1,
    "Sigmoid": 1,
}
# operators that only move or choose values: they run on uint8 with the parameters of their input
CARRIERS = frozenset(
    {
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "MaxPool",
        "Pad",
        "Reshape",
        "Resize",
        "Slice",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
# activations that disappear into the kernel before them where the integer range does their work
ABSORBED = frozenset({"Relu", "Clip"})


def data_inputs(node: ir.Node) -> list[ir.Value]:
    """Return the inputs of an integer operator that are data: no weights, shapes or bounds, no constants."""
    count = FOLLOWERS.get(node.op_type, 1)
    inputs = node.inputs if count is None else node.inputs[:count]
    return [value for value in inputs if value is not None and constant(value) is None]


def is_follower(node: ir.Node) -> bool:
    """Tell whether the node has a QLinear kernel of its own, or a form made of such kernels."""
    if node.domain != "" or node.op_type not in FOLLOWERS or not data_inputs(node):
        return False
    return node.op_type != "HardSigmoid" or is_gate(node)


def is_carrier(node: ir.Node) -> bool:
    """Tell whether the node may run on its input's integers."""
    if node.domain != "" or node.op_type not in CARRIERS or not data_inputs(node):
        return False
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    if node.op_type == "Resize":
        return bool(attributes.get("mode", "nearest") == "nearest")
    if node.op_type == "MaxPool":
        return len(node.outputs) == 1 or not node.outputs[1].uses()
    if node.op_type == "Split":
        return all(output.uses() or output.is_graph_output() for output in node.outputs)
    if node.op_type == "Pad":
        return attributes.get("mode", "constant") != "constant" or _pads_zero(node)
    return True


def needs_quantized_output(node: ir.Node) -> bool:
    """Tell whether an anchor is an integer kernel only if its output is quantized too.

    Gemm and MatMul also run as int8 in, float out; not where an activation follows that would make a float
    Gemm of them.
    """
    bias = absorbed_bias(node)
    if node.op_type == "Gemm" or bias is not None:
        reader = only_reader((bias or node).outputs[0])
        return reader is not None and reader.op_type in GEMM_ACTIVATIONS
    return node.op_type == "Conv"


def absorbed_bias(node: ir.Node) -> ir.Node | None:
    """Return the Add of one constant row that is all that reads a MatMul's output, if there is one.

    onnxruntime makes one Gemm of the two before it looks for integer operators, and an Add left float would
    keep all of it float. It does not where a MatMul of more than two dimensions has free ones.
    """
    add = only_reader(node.outputs[0])
    if node.op_type != "MatMul" or weight_axis(node) is None or add is None or add.op_type != "Add":
        return None
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    if shape is not None and len(shape) != 2 and not shape.is_static():
        return None
    weight = constant(node.inputs[1])
    rows = [array for value in add.inputs if (array := constant(value)) is not None]
    is_row = len(rows) == 1 and rows[0].ndim > 0 and rows[0].size == rows[0].shape[-1]
    return add if is_row and weight is not None and rows[0].size == weight.shape[-1] else None


def absorbed_activation(node: ir.Node) -> ir.Node | None:
    """Return the Relu or Clip from zero that is all that reads the node's output, if there is one."""
    activation = only_reader(node.outputs[0])
    if activation is None or activation.op_type not in ABSORBED:
        return None
    if activation.op_type == "Clip":
        lowest = constant(activation.inputs[1]) if len(activation.inputs) > 1 else None
        if lowest is None or not _is_zero(lowest):
            return None
    return activation


def only_reader(value: ir.Value) -> ir.Node | None:
    """Return the only reader of what a node makes, if it is a standard operator of the same graph."""
    users, producer = value.uses(), value.producer()
    if len(users) != 1 or value.is_graph_output() or producer is None:
        return None
    reader: ir.Node = next(iter(users)).node
    return reader if reader.domain == "" and reader.graph is producer.graph else None


def _pads_zero(node: ir.Node) -> bool:
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return True
    value = constant(node.inputs[2])
    return value is not None and _is_zero(value)


def _is_zero(array: np.ndarray[Any, Any]) -> bool:
    """Tell whether a bound or padding value, a scalar or an array of one element, is zero."""
    return array.size == 1 and float(array.item()) == 0.0
