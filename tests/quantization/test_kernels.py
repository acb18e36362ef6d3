"""The table of integer kernels, held against onnxruntime itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import onnx_ir as ir
import pytest

from onnx_pare.quantization import kernels

from .conftest import with_weights

Quantize = Callable[..., ir.Model]
Count = Callable[[ir.Model], Counter[str]]
Measure = Callable[[ir.Model, ir.Model], float]

# an operator between two convolutions, and the kernel that must take its place
BETWEEN = {
    "Add": ("t = Add(a, b)", "QLinearAdd"),
    "Mul": ("t = Mul(a, b)", "QLinearMul"),
    "Concat": ("t = Concat <axis = 1> (a, b)", "QLinearConcat"),
    "GlobalAveragePool": ("t = GlobalAveragePool(a)", "QLinearGlobalAveragePool"),
    "HardSigmoid": ("t = HardSigmoid(a)", "QLinearAdd"),
    "LeakyRelu": ("t = LeakyRelu <alpha = 0.1> (a)", "QLinearLeakyRelu"),
    "Sigmoid": ("t = Sigmoid(a)", "QLinearSigmoid"),
}
CARRIED = {
    "DepthToSpace": "t = DepthToSpace <blocksize = 2> (a)",
    "Expand": "s = Constant <value = int64[4] {2, 8, 6, 6}> () t = Expand(a, s)",
    "Flatten": "f = Flatten(a) s = Constant <value = int64[4] {1, 8, 6, 6}> () t = Reshape(f, s)",
    "Gather": "s = Constant <value = int64[3] {0, 2, 4}> () t = Gather <axis = 1> (a, s)",
    "Identity": "t = Identity(a)",
    "MaxPool": "t = MaxPool <kernel_shape = [2, 2]> (a)",
    "Pad": "s = Constant <value = int64[8] {0, 1, 0, 0, 0, 1, 0, 0}> () t = Pad(a, s)",
    "Reshape": "s = Constant <value = int64[4] {1, 4, 12, 6}> () t = Reshape(a, s)",
    "Resize": 's = Constant <value = float[4] {1.0, 1.0, 2.0, 2.0}> () t = Resize <mode = "nearest", '
    'coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> (a, , s)',
    "Slice": "i = Constant <value = int64[1] {0}> () j = Constant <value = int64[1] {4}> () "
    "k = Constant <value = int64[1] {1}> () t = Slice(a, i, j, k)",
    "Split": "p, u = Split <axis = 1> (a) t = Concat <axis = 1> (u, p)",
    "Squeeze": "s = Constant <value = int64[1] {0}> () q = Squeeze(a, s) t = Unsqueeze(q, s)",
    "Tile": "s = Constant <value = int64[4] {1, 2, 1, 1}> () t = Tile(a, s)",
    "Transpose": "t = Transpose <perm = [0, 1, 3, 2]> (a)",
    "Unsqueeze": "s = Constant <value = int64[1] {0}> () q = Squeeze(a, s) t = Unsqueeze(q, s)",
}
CHANNELS = {
    "Concat": 16, "DepthToSpace": 2, "Gather": 3, "Pad": 10, "Reshape": 4, "Slice": 4, "Tile": 16,
}  # fmt: skip


def between(body: str, channels: int) -> ir.Model:
    return with_weights(
        f"g (float[1, 3, 8, 8] x, float[8, 3, 3, 3] v, float[8, 3, 3, 3] w, float[4, {channels}, 1, 1] z) "
        f"=> (float[n, c, h, k] y) {{ a = Conv(x, v) b = Conv(x, w) {body} y = Conv(t, z) }}",
        v=(8, 3, 3, 3),
        w=(8, 3, 3, 3),
        z=(4, channels, 1, 1),
    )


def test_every_row_of_the_tables_is_held_against_the_runtime():
    assert set(BETWEEN) | {"AveragePool", "HardSwish"} == set(kernels.FOLLOWERS)  # the two: test_forms
    assert set(CARRIED) == kernels.CARRIERS


@pytest.mark.parametrize("op", BETWEEN)
def test_followers_become_their_kernel(op: str, quantized: Quantize, kernels_of: Count):
    body, kernel = BETWEEN[op]
    found = kernels_of(quantized(between(body, CHANNELS.get(op, 8))))
    assert found[kernel] == 1
    assert op not in found
    assert (found["QuantizeLinear"], found["DequantizeLinear"]) == (1, 1)


@pytest.mark.parametrize("op", CARRIED)
def test_carriers_move_integers(op: str, quantized: Quantize, kernels_of: Count):
    found = kernels_of(quantized(between(CARRIED[op], CHANNELS.get(op, 8))))
    assert found["QLinearConv"] == 2
    assert (found["QuantizeLinear"], found["DequantizeLinear"]) == (1, 1)


ANCHORED = {
    "Conv": ("y = Conv(x, w, b)", (6, 4, 3, 3), "QLinearConv"),
    "Conv without bias": ("y = Conv(x, w)", (6, 4, 3, 3), "QLinearConv"),
    "depthwise": ("y = Conv <group = 4> (x, w, b)", (4, 1, 3, 3), "QLinearConv"),
    "Conv and Relu": ("c = Conv(x, w, b) y = Relu(c)", (6, 4, 3, 3), "QLinearConv"),
    "Conv and Clip": (
        "lo = Constant <value = float {0.0}> () hi = Constant <value = float {0.7}> () "
        "c = Conv(x, w, b) y = Clip(c, lo, hi)",
        (6, 4, 3, 3),
        "QLinearConv",
    ),
    "Conv and Clip with bounds of one element": (
        "lo = Constant <value = float[1] {0.0}> () hi = Constant <value = float[1] {0.7}> () "
        "c = Conv(x, w, b) y = Clip(c, lo, hi)",
        (6, 4, 3, 3),
        "QLinearConv",
    ),
    "Gemm": ("f = Flatten(x) y = Gemm(f, w, b)", (256, 6), "QGemm"),
    "Gemm transposed": ("f = Flatten(x) y = Gemm <transB = 1> (f, w, b)", (6, 256), "QGemm"),
    "Gemm and Relu": ("f = Flatten(x) g = Gemm(f, w, b) y = Relu(g)", (256, 6), "QGemm"),
    "MatMul": ("y = MatMul(x, w)", (8, 6), "MatMulIntegerToFloat"),
    "MatMul, bias and Relu": ("m = MatMul(x, w) a = Add(m, b) y = Relu(a)", (8, 6), "QGemm"),
    "MatMul and bias": ("m = MatMul(x, w) y = Add(m, b)", (8, 6), "QGemm"),
    "MatMul of matrices and bias": ("f = Flatten(x) m = MatMul(f, w) y = Add(b, m)", (256, 6), "QGemm"),
}


@pytest.mark.parametrize("form", ANCHORED)
def test_anchors_become_their_kernel(form: str, quantized: Quantize, kernels_of: Count):
    body, shape, kernel = ANCHORED[form]
    channels = shape[1] if len(shape) == 2 and form != "Gemm transposed" else shape[0]
    model = with_weights(
        f"g (float[1, 4, 8, 8] x, float[{', '.join(map(str, shape))}] w, float[{channels}] b) "
        f"=> (float[p, q] y) {{ {body} }}",
        w=shape,
        b=(channels,),
    )
    model.graph.outputs[0].shape = None
    found = kernels_of(quantized(model))
    assert found[kernel] == 1
    assert not found.keys() & {"Conv", "Gemm", "MatMul", "Relu", "Clip", "Add"}


@pytest.mark.parametrize("activation", sorted(kernels.GEMM_ACTIVATIONS))
def test_an_activation_does_not_make_a_float_gemm(activation: str, quantized: Quantize, kernels_of: Count):
    model = with_weights(
        f"g (float[1, 16] x, float[16, 6] w) => (float[1, 6] y) {{ g = Gemm(x, w) a = {activation}(g) "
        "y = Softmax(a) }",
        w=(16, 6),
    )
    found = kernels_of(quantized(model))
    assert found["QGemm"] == 1
    assert not found.keys() & {"Gemm", "FusedGemm"}


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_a_pad_of_any_mode_moves_integers(
    mode: str, quantized: Quantize, kernels_of: Count, sqnr_db: Measure
):
    body = f's = Constant <value = int64[8] {{0, 0, 1, 1, 0, 0, 1, 1}}> () t = Pad <mode = "{mode}"> (a, s)'
    model = between(body, 8)
    result = quantized(model)
    found = kernels_of(result)
    assert (found["QLinearConv"], found["QuantizeLinear"], found["DequantizeLinear"]) == (2, 1, 1)
    assert sqnr_db(model, result) > 25


LEFT_FLOAT = {
    "alpha": "f = Flatten(x) y = Gemm <alpha = 0.5> (f, w, b)",
    "transA": "f = Flatten(x) g = Transpose(f) y = Gemm <transA = 1> (g, w, b)",
    "computed weights": "f = Flatten(x) v = Abs(w) y = MatMul(f, v)",
}


@pytest.mark.parametrize("form", LEFT_FLOAT)
def test_forms_without_a_kernel_are_no_anchors(form: str):
    model = with_weights(
        f"g (float[1, 4, 2, 2] x, float[16, 6] w, float[6] b) => (float[1, 6] y) {{ {LEFT_FLOAT[form]} }}",
        w=(16, 6),
        b=(6,),
    )
    assert [kernels.weight_axis(node) for node in model.graph if node.op_type in kernels.ANCHORS] == [None]
