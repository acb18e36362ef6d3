"""The class of an operator: operators of one class cost alike for the same work."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

from onnx_pare.cost.call import Call, operator
from onnx_pare.cost.class_table import CLASS_OF
from onnx_pare.cost.macs import MACS

if TYPE_CHECKING:
    import onnx_ir as ir

# a matrix product with a constant operand and no more rows than this reads each weight for very few MACs
FEW_ROWS = 4
# no kernel fills its vectors with the channels of a colour image
FEW_CHANNELS = 4
# channels of what runtimes that compute on blocks pad to whole ones
VECTOR = 4

# class -> what it holds, as the documentation and `pare profiles show` say it
OP_CLASSES: Mapping[str, str] = {
    "pointwise": "1x1 convolution",
    "conv3x3": "3x3 convolution, stride 1: the one that Winograd's algorithm serves",
    "conv_strided": "convolution with a stride, larger than 1x1",
    "conv": "any other convolution, transposed and deformable ones included",
    "stem": f"convolution over at most {FEW_CHANNELS} channels, as over an image",
    "grouped": "convolution in groups of more than one channel",
    "grouped_uneven": "the same where groups do not fill the blocks of channels that the runtime computes on",
    "depthwise": "convolution of each channel by itself, up to 3x3",
    "depthwise_large": "convolution of each channel by itself, larger than 3x3",
    "depthwise_uneven": "the same where channels do not fill the vectors of the runtime",
    "linear": "matrix product with constant weights",
    "fully_connected": f"matrix product or 1x1 convolution with constant weights of at most {FEW_ROWS} rows",
    "matmul": "product of two activations, Einsum included",
    "attention": "scaled dot-product attention as one kernel",
    "recurrent": "RNN, GRU, LSTM",
    "normalization": "BatchNormalization, LayerNormalization and their kin",
    "softmax": "Softmax, LogSoftmax, Hardmax",
    "pool": "pooling over windows",
    "reduce": "reductions, global pooling included",
    "resize": "Resize, GridSample, RoiAlign",
    "copy": "moving data: Concat, Slice, Transpose, Pad, Gather",
    "elementwise": "one cheap operation an element: Add, Mul, Relu",
    "function": "one costly function an element: Sigmoid, Erf, Exp, Tanh",
    "quantize": "between float and integer: QuantizeLinear, DequantizeLinear",
    "search": "TopK, NonMaxSuppression, sorting and other data-dependent work",
    "transform": "Fourier transforms",
    "control": "what runs in the bodies of If, Loop, Scan, as one",
    "other": "operators that are not known here",
}

# those that do multiply-accumulates
MAC_CLASSES = frozenset(
    {
        *("pointwise", "conv3x3", "conv_strided", "conv", "stem", "grouped", "depthwise"),
        *("depthwise_large", "linear", "fully_connected", "matmul", "attention", "recurrent"),
    }
)
_CONVOLUTIONS = frozenset(op for op in MACS if "Conv" in op)
# a convolution's weight: input 3 where scales and zero points stand between
_WEIGHT_SLOT = {"QLinearConv": 3, "com.microsoft:QLinearConv": 3}


def op_class(call: Call, *, constant_weight: bool) -> str:
    """Return the class of a call.

    Args:
        call: The node with its shapes.
        constant_weight: Whether it multiplies with weights that do not change.
    """
    op = operator(call.node)
    if op in CLASS_OF:
        return CLASS_OF[op]
    if op in _CONVOLUTIONS:
        return _convolution(call)
    if op in MACS:
        if not constant_weight:
            return "matmul"
        return "fully_connected" if rows(call) <= FEW_ROWS else "linear"
    return "other"


def rows(call: Call) -> int:
    """Return how many positions or rows the weights are applied to: all of the output but its channels."""
    shape = _shape(call)
    return prod(shape) // max(1, shape[_channel_axis(call)]) if shape else 1


def window(node: ir.Node, call: Call) -> tuple[int, int]:
    """Return kernel area and stride of a convolution or pooling; (1, 1) of anything else."""
    area = prod(node.attributes.get_ints("kernel_shape", ()))
    if operator(node) in _CONVOLUTIONS and "kernel_shape" not in node.attributes:
        area = prod(call.input(_WEIGHT_SLOT.get(operator(node), 1))[2:])
    return area, max(node.attributes.get_ints("strides", (1,)) or (1,))


def channels(call: Call) -> tuple[int, int]:
    """Return how many values each output sums up over channels, and how many outputs share them.

    For convolutions these are input and output channels of one group, for matrix products K and N.
    """
    node, op = call.node, operator(call.node)
    shape = _shape(call)
    if op in _CONVOLUTIONS:
        groups = node.attributes.get_int("group", 1)
        weight = call.input(_WEIGHT_SLOT.get(op, 1))
        area, _ = window(node, call)
        inner = weight[0] // groups if "Transpose" in op else prod(weight[1:]) // area
        return inner, shape[_channel_axis(call)] // groups
    return 0, (shape[-1] if shape else 1)


def _channel_axis(call: Call) -> int:
    """Return where the output's channels are: behind the batch for convolutions, last for all else."""
    op = operator(call.node)
    last = op not in _CONVOLUTIONS or "Nhwc" in op or call.integer("channels_last", 0)
    return -1 if last or len(_shape(call)) < 2 else 1


def _convolution(call: Call) -> str:
    node = call.node
    groups = node.attributes.get_int("group", 1)
    area, stride = window(node, call)
    inner, _ = channels(call)
    if groups > 1:
        if inner > 1:
            return "grouped"
        return "depthwise" if area <= 9 else "depthwise_large"
    if inner <= FEW_CHANNELS and area > 1:
        return "stem"
    if area == 1:
        # what squeeze-and-excitation does: a matrix product in disguise
        return "pointwise" if rows(call) > FEW_ROWS else "fully_connected"
    if operator(node) in ("ConvTranspose", "DeformConv"):
        return "conv"
    if stride > 1:
        return "conv_strided"
    dilated = max(node.attributes.get_ints("dilations", (1,)) or (1,)) > 1
    return "conv3x3" if area == 9 and not dilated else "conv"


def _shape(call: Call) -> tuple[int, ...]:
    info = call.outputs[0] if call.outputs else None
    return info.shape if info is not None else ()


def uneven(kind: str, *, inner: int, outer: int, groups: int, block: int) -> str:
    """Return the class of a convolution in a runtime that computes on blocks of channels.

    Args:
        kind: Its class elsewhere.
        inner, outer: Input and output channels of a group.
        groups: How many groups.
        block: Channels of a block, 0 if it does not compute on blocks.
    """
    if block and kind == "grouped" and (inner % block or outer % block):
        return "grouped_uneven"
    if block and kind.startswith("depthwise") and (groups % VECTOR or outer > 1):
        return "depthwise_uneven"
    return kind
