"""Which rule follows the channels through which operator, and the walk over the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from onnx_pare.graph import axis_elementwise, axis_layers, axis_layout, axis_regroup
from onnx_pare.graph.axes import Axes, NotUnderstoodError, Stop
from onnx_pare.graph.axis_dims import fix_dims, follow_dims
from onnx_pare.graph.edit import constant

if TYPE_CHECKING:
    import onnx_ir as ir

    Rule = Callable[[Axes, ir.Node], None]

OUTPUT = "the model's output"

# whatever a channel becomes, it becomes by itself
SAME = (
    *("Abs", "Ceil", "Cast", "Clip", "Dropout", "Erf", "Exp", "Floor", "Identity", "IsInf", "IsNaN", "Log"),
    *("Neg", "Not", "Reciprocal", "Round", "Shrink", "Sign", "Sqrt"),
    *("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cos", "Cosh", "Sin", "Sinh", "Tan", "Tanh"),
    *("Celu", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "Relu", "Selu", "Sigmoid"),
    *("Softplus", "Softsign", "Swish", "ThresholdedRelu"),
)
BROADCAST = (
    *("Add", "Div", "Max", "Mean", "Min", "Mod", "Mul", "PRelu", "Pow", "Sub", "Sum", "Where"),
    *("And", "BitShift", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Or", "Xor"),
)
REDUCE = (
    *("ArgMax", "ArgMin", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax"),
    *("ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
)
POOL = ("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool")
NORMALIZE = (
    *("Hardmax", "LRN", "LayerNormalization", "LogSoftmax", "LpNormalization", "RMSNormalization"),
    "Softmax",
)

RULES: dict[str, Rule] = {
    **dict.fromkeys(SAME, axis_elementwise.same),
    **dict.fromkeys(BROADCAST, axis_elementwise.broadcast),
    **dict.fromkeys(REDUCE, axis_layout.reduce),
    **dict.fromkeys(POOL, axis_layers.pool),
    **dict.fromkeys(NORMALIZE, axis_layers.normalize),
    **dict.fromkeys(("BatchNormalization", "InstanceNormalization"), axis_layers.per_channel),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), axis_regroup.reshape),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), axis_layers.recurrent),
    **dict.fromkeys(("Resize", "Upsample"), axis_layout.resize),
    "Concat": axis_layout.concat,
    "Conv": axis_layers.conv,
    "ConvTranspose": axis_layers.conv_transpose,
    "Einsum": axis_layers.einsum,
    "DepthToSpace": axis_regroup.depth_to_space,
    "Expand": axis_layout.expand,
    "Gather": axis_layout.gather,
    "Gemm": axis_layers.gemm,
    "GroupNormalization": axis_layers.group_norm,
    "MatMul": axis_layers.matmul,
    "Pad": axis_layout.pad,
    "Slice": axis_layout.slice_,
    "SpaceToDepth": axis_regroup.space_to_depth,
    "Split": axis_layout.split,
    "Tile": axis_layout.tile,
    "Transpose": axis_layout.transpose,
}
# the inputs from this one on say what to do: what a constant among them holds must stay
PARAMETERS: dict[str, int] = {
    **dict.fromkeys((*SAME, *REDUCE, "Expand", "Gather", "Pad", "Reshape", "Resize", "Slice", "Split"), 1),
    **dict.fromkeys(("Squeeze", "Tile", "Unsqueeze", "Upsample"), 1),
}


def follow(graph: ir.Graph, axes: Axes) -> None:
    """Follow the channels through a graph, front to back."""
    for value in graph.inputs:
        axes.blame[value] = Stop(value.name or "", "", "the model's input")
    for node in graph:
        axes.visit(node)
        if not _is_given(node):
            _follow(axes, node)
    for value in graph.outputs:
        producer = value.producer()
        name = (producer.name if producer is not None else value.name) or ""
        _keep(axes, value, Stop(name, producer.op_type if producer is not None else "", OUTPUT))
    for value in {*(value for value, _ in axes.of), *axes.dims}:
        inner = next((use.node for use in value.uses() if use.node.graph is not graph), None)
        if inner is not None:
            _keep(axes, value, Stop(inner.name or "", inner.op_type, "reads them inside of a subgraph"))


def _keep(axes: Axes, value: ir.Value, stop: Stop) -> None:
    axes.freeze(value, stop)
    fix_dims(axes, value, stop)


def _is_given(node: ir.Node) -> bool:
    return node.op_type == "Constant" and constant(node.outputs[0]) is not None


def _follow(axes: Axes, node: ir.Node) -> None:
    if follow_dims(axes, node):
        return
    rule = RULES.get(node.op_type) if node.domain == "" else None
    try:
        if rule is None:
            raise NotUnderstoodError("is not understood")
        rule(axes, node)
    except NotUnderstoodError as error:
        for value in node.inputs:
            axes.freeze(value, str(error))
        for value in node.outputs:
            axes.freeze(value, str(error))
            axes.blame[value] = axes.stop(str(error))
        return
    for value in node.inputs[PARAMETERS.get(node.op_type, len(node.inputs)) :]:
        axes.freeze(value, "is told by them what to do")
    _hand_on_blame(axes, node)


def _hand_on_blame(axes: Axes, node: ir.Node) -> None:
    """An output without numbers has the reason of an input without."""
    reasons = (axes.blame.get(value) for value in node.inputs if value is not None)
    reason = axes.reason or next((reason for reason in reasons if reason is not None), None)
    if reason is not None:
        axes.blame.update((value, reason) for value in node.outputs if not axes.tracks(value))
