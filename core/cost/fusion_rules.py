"""What kinds of runtimes fuse: named rule sets, each with where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onnx_pare.cost.memory import VIEWS

_CONVS = frozenset({"Conv", "ConvTranspose", "com.microsoft:FusedConv"})
_PRODUCTS = frozenset({"Gemm", "MatMul"})
_BINARY = frozenset({"Add", "Div", "Max", "Min", "Mul", "Pow", "Sub"})
_UNARY_NAMES = """
    Abs Cast Ceil Celu Clip Cos Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Mish Neg Not PRelu
    Reciprocal Relu Round Selu Sigmoid Sin Softplus Softsign Sqrt Swish Tanh ThresholdedRelu
    gelu hardsigmoid hardswish mish silu
"""
_UNARY = frozenset(_UNARY_NAMES.split())
_LOGICAL = frozenset({"And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Or", "Where"})
POINTWISE = _BINARY | _UNARY | _LOGICAL
_SHAPES = frozenset({"Shape", "Size"})
_STRIDED = frozenset({"Expand", "Slice", "Split", "Transpose"})
_BATCH_NORM = {"Conv": frozenset({"BatchNormalization"}), "ConvTranspose": frozenset({"BatchNormalization"})}
_BIAS = {"MatMul": frozenset({"Add"})}
_ACTIVATIONS = frozenset({"gelu", "hardsigmoid", "hardswish", "mish", "silu"})
_FUNCTIONAL = _ACTIVATIONS | {"attention", "groupnorm", "layernorm", "rmsnorm"}


@dataclass(frozen=True)
class FusionRules:
    """What a kind of runtime fuses.

    Names in lower case are compounds (see `compounds` and `formulas`): `gelu`, `silu`, `layernorm`, ….

    Attributes:
        compounds: Which of them it replaces by one operator; `product` are scales and transpositions that a
            matrix product does on the way, `split` selections that take a tensor apart.
        folds: Leading operator -> operators with constants that go into its weights and bias.
        residual: Leading operators that also add a second tensor to their output.
        after: Leading operator -> activations, one of which is computed before the output is stored.
        chains: Whether element-wise operators that follow each other run as one kernel, together with a
            normalization, reduction or copy before or behind them.
        epilogue: Leading operators whose output all that `chains` is computed on, before it is stored.
        free: Operators that move no data.
        block: Channels of a block in which some operators keep tensors, and move them in and out (see
            `layout`); grouped and depthwise convolutions that do not fill blocks take a slower way, and are
            of classes of their own. 0 if there is none.
    """

    compounds: frozenset[str] = _ACTIVATIONS | {"layernorm"}
    folds: Mapping[str, frozenset[str]] = field(default_factory=lambda: _BATCH_NORM | _BIAS)
    residual: frozenset[str] = frozenset()
    after: Mapping[str, frozenset[str]] = field(default_factory=dict)
    chains: bool = False
    epilogue: frozenset[str] = frozenset()
    free: frozenset[str] = VIEWS | _SHAPES
    block: int = 0


def _all(leaders: frozenset[str], followers: str) -> dict[str, frozenset[str]]:
    return dict.fromkeys(leaders, frozenset(followers.split()))


RULES: Mapping[str, FusionRules] = {
    # every node by itself
    "none": FusionRules(compounds=frozenset(), folds={}),
    # The graph that onnxruntime 1.32 itself writes (optimized_model_filepath, all optimizations, x86-64): its
    # conv_activation_fusion, conv_add_fusion, conv_mul_fusion, nchwc_transformer, matmul_add_fusion,
    # matmul_scale_fusion, matmul_transpose_fusion, gather_fusion. No residual into a quantized convolution.
    "onnxruntime-cpu": FusionRules(
        compounds=frozenset({"gelu", "hardswish", "layernorm", "product", "rmsnorm", "silu", "split"}),
        folds=dict.fromkeys(_CONVS, frozenset({"Add", "BatchNormalization", "Mul"})) | _BIAS,
        residual=_CONVS | {"BatchNormalization"},
        after=_all(_CONVS, "Clip HardSigmoid HardSwish LeakyRelu Relu Sigmoid Tanh hardsigmoid hardswish")
        | _all(_PRODUCTS, "Elu HardSigmoid LeakyRelu Relu Selu Sigmoid Softplus Softsign Tanh")
        | _all(frozenset({"BatchNormalization"}), "Relu Sigmoid Tanh Clip"),
        block=16,
    ),
    # tools/ncnnoptimize.cpp of ncnn: fuse_*_batchnorm, fuse_*_activation; a Split of blobs shares memory
    "ncnn": FusionRules(
        after=_all(_CONVS | _PRODUCTS, "Clip HardSwish LeakyRelu Mish Relu Sigmoid hardswish mish"),
        free=VIEWS | _SHAPES | {"Split"},
    ),
    # fused_activation_function in TensorFlow Lite's schema.fbs
    "tflite": FusionRules(
        after=_all(
            _CONVS | _PRODUCTS | {"Add", "AveragePool", "Concat", "Div", "MaxPool", "Mul", "Sub"}, "Clip Relu"
        ),
    ),
    # PyTorch, module by module: one kernel a module or function,
    # torch.nn.functional.scaled_dot_product_attention; most strided views end in a copy
    "gpu-eager": FusionRules(compounds=_FUNCTIONAL, folds=_BIAS),
    # torch.compile: what torch/_inductor/scheduler.py fuses, convolutions and products from libraries, which
    # want what they read in one piece
    "gpu-compiled": FusionRules(
        compounds=_FUNCTIONAL | {"l2norm"}, folds=_BIAS, chains=True, free=VIEWS | _SHAPES | _STRIDED
    ),
    # the same on CPUs: torch/_inductor/fx_passes/mkldnn_fusion.py fuses into convolutions and linear layers;
    # timm's results are predicted better with attention as its products than as one kernel
    "cpu-compiled": FusionRules(
        compounds=_FUNCTIONAL - {"attention"} | {"l2norm"},
        chains=True,
        epilogue=_CONVS | _PRODUCTS,
        free=VIEWS | _SHAPES | {"Expand", "Slice", "Split"},
    ),
    # "Layer Fusion Catalog" of TensorRT's documentation: pointwise, convolution with sum, concat elimination
    "tensorrt": FusionRules(
        compounds=_FUNCTIONAL | {"l2norm", "product"},
        chains=True,
        epilogue=_CONVS | _PRODUCTS,
        free=VIEWS | _SHAPES | {"Concat", "Slice", "Split"},
    ),
    # compilers that keep activations on the chip and write element-wise work into the layer before it
    "npu": FusionRules(
        compounds=_ACTIVATIONS | {"groupnorm", "l2norm", "layernorm", "rmsnorm"},
        chains=True,
        epilogue=_CONVS | _PRODUCTS,
        free=VIEWS | _SHAPES | {"Concat", "Slice", "Split"},
    ),
    # TensorFlow Lite for Microcontrollers with CMSIS-NN: activations are limits of the integer output
    "mcu": FusionRules(after=_all(_CONVS | _PRODUCTS | {"Add", "AveragePool", "MaxPool"}, "Clip Relu")),
}
