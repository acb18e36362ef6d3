"""Dynamic int8: activations are quantized while the model runs, so that no calibration is needed.

Which nodes take part, and why the others stay float; `dynamic_forms` has what each becomes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_pare.graph.computed import Contents
from onnx_pare.graph.edit import constant
from onnx_pare.graph.save import tensors
from onnx_pare.quantization import dynamic_forms as forms
from onnx_pare.quantization.kernels import weight_axis

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Row:
    """What becomes of an operator.

    Attributes:
        form: Replaces a node.
        obstacle: Says why a node stays float, nothing if it need not.
        kernel: The integer operator it becomes; none if it only stores its weights as int8.
    """

    form: Callable[[forms.Writer, ir.Node], None]
    obstacle: Callable[[ir.Node, Contents], str]
    kernel: str


@dataclass
class Plan:
    """What is quantized.

    Attributes:
        contents: What weights hold.
        nodes: The nodes, of the main graph and of subgraphs.
        reasons: Why nodes that multiply matrices stay float32: counts by reason.
    """

    contents: Contents
    nodes: list[ir.Node] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def kernels(self) -> Counter[str]:
        """Count the integer operators that the nodes become."""
        return Counter(kernel for node in self.nodes if (kernel := TABLE[_kind(node)].kernel))

    def stored(self) -> Counter[str]:
        """Count the nodes that have no integer operator, and only store their weights as int8."""
        return Counter(node.op_type for node in self.nodes if not TABLE[_kind(node)].kernel)


def plan_dynamic(model: ir.Model, skipped: set[ir.Node]) -> Plan:
    """Choose the nodes to quantize: those with a form, constant float32 weights, and nothing in the way."""
    plan = Plan(Contents(model))
    for node in nodes(model):
        row = TABLE.get(_kind(node))
        if row is None:
            reason = FLOAT.get(_kind(node), "")
        else:
            reason = "skip" if node in skipped else row.obstacle(node, plan.contents)
        if reason:
            plan.reasons[reason] += 1
        elif row is not None:
            plan.nodes.append(node)
    inside = [node for function in model.functions.values() for node in function if _kind(node) in TABLE]
    plan.reasons.update(["inside a function"] * len(inside))
    return plan


def nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Yield the nodes of the main graph and of all subgraphs."""
    return (node for graph in model.graphs() for node in graph)


def quantize_dynamic(model: ir.Model, plan: Plan, *, per_channel: bool) -> int:
    """Replace each planned node by its int8 form, in place; return by how many bytes the tensors shrank."""
    from onnx_ir.passes.common import DeduplicateHashedInitializersPass, RemoveUnusedNodesPass

    before = _tensor_bytes(model)
    writer = forms.Writer(model, plan.contents, per_channel)
    for node in plan.nodes:
        TABLE[_kind(node)].form(writer, node)
    if any(node.domain == forms.CONTRIB for node in nodes(model)):
        model.graph.opset_imports.setdefault(forms.CONTRIB, 1)
    RemoveUnusedNodesPass()(model)  # float weights
    DeduplicateHashedInitializersPass()(model)  # equal zero points
    return before - _tensor_bytes(model)


def _tensor_bytes(model: ir.Model) -> int:
    return sum(tensor.nbytes for tensor in tensors(model))


def _kind(node: ir.Node) -> str:
    return f"{node.domain}:{node.op_type}" if node.domain else node.op_type


def _product_obstacle(node: ir.Node, contents: Contents) -> str:
    if weight_axis(node) is not None:
        return ""
    left, right = (constant(value) for value in node.inputs[:2])
    if right is None and contents.of(node.inputs[1]) is not None:
        return "computed weights"
    if right is None:
        return "product of activations" if left is None else "weights on the left"
    if right.dtype.name != "float32":
        return "weights not float32"
    return (
        "weights not a matrix" if node.op_type == "MatMul" else "Gemm with alpha, beta, transA or free bias"
    )


def _weights_obstacle(node: ir.Node, contents: Contents, *places: int) -> str:
    for place in places:
        weight = contents.of(node.inputs[place])
        if weight is None:
            return "computed weights"
        if weight.dtype.name != "float32" or weight.size == 0:
            return "weights not float32"
    return ""


def _recurrent_obstacle(node: ir.Node, contents: Contents) -> str:
    return _weights_obstacle(node, contents, 1, 2)


def _lstm_obstacle(node: ir.Node, contents: Contents) -> str:
    if node.attributes.get_int("layout", 0) != 0:
        return "LSTM with the batch first"
    return _recurrent_obstacle(node, contents)


def _attention_obstacle(node: ir.Node, contents: Contents) -> str:
    given = {name for name, attribute in node.attributes.items() if attribute.value}
    if given - forms.ATTENTION_ATTRIBUTES or any(value is not None for value in node.inputs[5:]):
        return "attention with biases, rotation or sizes of its own"
    return _weights_obstacle(node, contents, 1)


TABLE = {
    "MatMul": Row(forms.product, _product_obstacle, "MatMulInteger"),
    "Gemm": Row(forms.product, _product_obstacle, "MatMulInteger"),
    "LSTM": Row(forms.lstm, _lstm_obstacle, "DynamicQuantizeLSTM"),
    "GRU": Row(forms.stored, _recurrent_obstacle, ""),
    "RNN": Row(forms.stored, _recurrent_obstacle, ""),
    "com.microsoft:Attention": Row(forms.attention, _attention_obstacle, "QAttention"),
}
# what multiplies matrices and never takes part, and why
FLOAT = {
    "Conv": "convolution: little gain without calibration",
    "ConvTranspose": "convolution: little gain without calibration",
    "DeformConv": "convolution: little gain without calibration",
    "Einsum": "no integer kernel",
    "Attention": "product of activations",
    "com.microsoft:MultiHeadAttention": "product of activations",
}
