"""The class of an operator: operators of one class cost alike for the same work."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

from onnx_pare.cost.call import Call, operator
from onnx_pare.cost.macs import MACS

if TYPE_CHECKING:
    import onnx_ir as ir

# a matrix product with a constant operand and no more rows than this reads each weight for very few MACs
FEW_ROWS = 4
# no kernel fills its vectors with the channels of a colour image
FEW_CHANNELS = 4

# class -> what it holds, as the documentation and `pare profiles show` say it
OP_CLASSES: Mapping[str, str] = {
    "pointwise": "1x1 convolution",
    "conv3x3": "3x3 convolution, stride 1: the one that Winograd's algorithm serves",
    "conv_strided": "convolution with a stride, larger than 1x1",
    "conv": "any other convolution, transposed and deformable ones included",
    "stem": f"convolution over at most {FEW_CHANNELS} channels, as over an image",
    "grouped": "convolution in groups of more than one channel",
    "depthwise": "convolution of each channel by itself, up to 3x3",
    "depthwise_large": "convolution of each channel by itself, larger than 3x3",
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
}

_NAMES: Mapping[str, str] = {
    "recurrent": "LSTM GRU RNN com.microsoft:DynamicQuantizeLSTM",
    "attention": """Attention com.microsoft:Attention com.microsoft:QAttention
        com.microsoft:MultiHeadAttention com.microsoft:GroupQueryAttention""",
    "normalization": """BatchNormalization GroupNormalization InstanceNormalization LRN LayerNormalization
        LpNormalization MeanVarianceNormalization RMSNormalization SimplifiedLayerNormalization
        com.microsoft:SkipLayerNormalization com.microsoft:SkipSimplifiedLayerNormalization
        com.microsoft:EmbedLayerNormalization com.microsoft:QEmbedLayerNormalization com.microsoft:GroupNorm
        com.microsoft:SkipGroupNorm""",
    "softmax": "Softmax LogSoftmax Hardmax com.microsoft:BiasSoftmax com.microsoft:QLinearSoftmax",
    "pool": """AveragePool MaxPool LpPool MaxUnpool MaxRoiPool com.microsoft:NhwcMaxPool
        com.microsoft:QLinearAveragePool""",
    "reduce": """GlobalAveragePool GlobalMaxPool GlobalLpPool ArgMax ArgMin CumSum CumProd ReduceL1 ReduceL2
        ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
        com.microsoft:QLinearGlobalAveragePool com.microsoft:QLinearReduceMean
        com.microsoft:ReduceSumInteger""",
    "resize": "Resize Upsample GridSample RoiAlign AffineGrid",
    "quantize": """QuantizeLinear DequantizeLinear DynamicQuantizeLinear com.microsoft:QuantizeLinear
        com.microsoft:DequantizeLinear com.microsoft:DynamicQuantizeLinear""",
    "search": """TopK NonMaxSuppression NonZero Unique Multinomial com.microsoft:Unique
        StringNormalizer StringSplit StringConcat RegexFullMatch Compress""",
    "function": """Acos Acosh Asin Asinh Atan Atanh Celu Cos Cosh Elu Erf Exp Gelu HardSigmoid HardSwish Log
        Mish Pow Selu Sigmoid Sin Sinh Softplus Softsign Sqrt SwiGLU Swish Tan Tanh RotaryEmbedding
        com.microsoft:BiasGelu com.microsoft:FastGelu com.microsoft:Gelu com.microsoft:QuickGelu
        com.microsoft:BiasSplitGelu com.microsoft:QLinearSigmoid com.microsoft:RotaryEmbedding""",
    "copy": """CenterCropPad Col2Im Concat ConcatFromSequence DepthToSpace Expand EyeLike Gather
        GatherElements GatherND OneHot Pad Range ReverseSequence Scatter ScatterElements ScatterND Slice
        SpaceToDepth Split SplitToSequence TensorScatter Tile Transpose Trilu com.microsoft:Pad
        com.microsoft:QLinearConcat com.microsoft:GatherBlockQuantized com.microsoft:Trilu""",
}
CLASS_OF: Mapping[str, str] = {op: kind for kind, names in _NAMES.items() for op in names.split()}
_CONVOLUTIONS = frozenset(op for op in MACS if "Conv" in op)
# a convolution's weight: input 3 where scales and zero points stand between
_WEIGHT_SLOT = {"QLinearConv": 3, "com.microsoft:QLinearConv": 3}


def op_class(call: Call, *, constant_weight: bool, macs: int) -> str:
    """Return the class of a call.

    Args:
        call: The node with its shapes.
        constant_weight: Whether it multiplies with weights that do not change.
        macs: Its MACs.
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
    return "elementwise" if macs == 0 else "search"


def rows(call: Call) -> int:
    """Return how many positions or rows the weights are applied to: all of the output but its channels."""
    shape = _shape(call)
    if not shape:
        return 1
    channels = shape[1] if operator(call.node) in _CONVOLUTIONS and len(shape) > 1 else shape[-1]
    return prod(shape) // max(1, channels)


def window(node: ir.Node, call: Call) -> tuple[int, int]:
    """Return kernel area and stride of a convolution or pooling; (1, 1) of anything else."""
    if operator(node) in _CONVOLUTIONS:
        area = prod(call.input(_WEIGHT_SLOT.get(operator(node), 1))[2:])
    else:
        area = prod(node.attributes.get_ints("kernel_shape", ()))
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
        return (weight[0] // groups if "Transpose" in op else weight[1]), shape[1] // groups
    return 0, (shape[-1] if shape else 1)


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
