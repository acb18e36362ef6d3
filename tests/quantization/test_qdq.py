from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import onnx_ir as ir
import pytest

from .conftest import with_weights

Quantize = Callable[..., ir.Model]
Measure = Callable[[ir.Model, ir.Model], float]

BRANCHING = """g (float[N, 3, 12, 12] image, float[8, 3, 3, 3] v, float[8] bias, float[8, 8, 3, 3] w,
    float[8, 5] u) => (float[N, 8, 10, 10] features, float[N, 5] scores) {
    c = Conv(image, v, bias)
    features = Relu(c)
    d = Conv <pads = [1, 1, 1, 1]> (features, w)
    half = Constant <value = float {0.5}> ()
    e = Mul(d, half)
    s = Add(e, features)
    p = GlobalAveragePool(s)
    f = Flatten(p)
    scores = MatMul(f, u)
}"""


def branching() -> ir.Model:
    return with_weights(BRANCHING, v=(8, 3, 3, 3), bias=(8,), w=(8, 8, 3, 3), u=(8, 5))


@pytest.mark.parametrize("per_channel", [True, False])
def test_outputs_stay_close(per_channel: bool, quantized: Quantize, sqnr_db: Measure):
    model = branching()
    assert sqnr_db(model, quantized(model, per_channel=per_channel)) > 25


def test_an_inner_tensor_that_is_an_output_too_keeps_its_name(quantized: Quantize):
    result = quantized(branching())
    assert [value.name for value in result.graph.outputs] == ["features", "scores"]
    producer = result.graph.outputs[0].producer()
    assert producer is not None
    assert producer.op_type == "DequantizeLinear"


def test_weights_are_stored_as_integers_only(quantized: Quantize):
    result = quantized(branching())
    kinds = Counter(
        value.dtype.name for value in result.graph.initializers.values() if value.dtype and value.shape
    )
    assert kinds["INT8"] == 5  # three weights; two of their zero points are equal
    large = [
        value.name
        for value in result.graph.initializers.values()
        if value.dtype == ir.DataType.FLOAT and value.const_value is not None and value.const_value.size > 8
    ]
    assert large == []


def test_a_weight_that_two_nodes_share_is_stored_once(quantized: Quantize, sqnr_db: Measure):
    model = with_weights(
        """g (float[1, 4, 8, 8] x, float[4, 4, 3, 3] w) => (float[1, 4, 8, 8] y) {
            a = Conv <pads = [1, 1, 1, 1]> (x, w)
            y = Conv <pads = [1, 1, 1, 1]> (a, w)
        }""",
        w=(4, 4, 3, 3),
    )
    result = quantized(model)
    stored = [v for v in result.graph.initializers.values() if v.shape is not None and len(v.shape) == 4]
    assert len(stored) == 1
    assert sqnr_db(model, result) > 25


def test_floats_that_no_integer_kernel_made_stay_exact_for_float_readers(quantized: Quantize):
    model = with_weights(
        "g (float[1, 8] x, float[8, 3] w) => (float[1, 3] y, float[1, 8] z) { y = MatMul(x, w) z = Exp(x) }",
        w=(8, 3),
    )
    result = quantized(model)
    exp = next(node for node in result.graph if node.op_type == "Exp")
    assert exp.inputs[0] is result.graph.inputs[0]


def test_a_pad_runs_on_integers(quantized: Quantize, sqnr_db: Measure):
    model = with_weights(
        """g (float[1, 4, 8, 8] x, float[4, 4, 3, 3] w, float[2, 6, 1, 1] v) => (float[1, 2, 8, 8] y) {
            a = Conv <pads = [1, 1, 1, 1]> (x, w)
            by = Constant <value = int64[8] {0, 1, 0, 0, 0, 1, 0, 0}> ()
            p = Pad(a, by)
            y = Conv(p, v)
        }""",
        w=(4, 4, 3, 3),
        v=(2, 6, 1, 1),
    )
    result = quantized(model)
    pad = next(node for node in result.graph if node.op_type == "Pad")
    assert pad.inputs[0] is not None
    producer = pad.inputs[0].producer()
    assert producer is not None
    assert producer.op_type == "QuantizeLinear"
    assert sqnr_db(model, result) > 25


@pytest.mark.parametrize("bias", ["float[5] b", "float[1, 1, 5] b"])
@pytest.mark.parametrize("add", ["h = Add(m, b)", "h = Add(b, m)"])
def test_a_bias_behind_a_matmul_becomes_int32(bias: str, add: str, quantized: Quantize, sqnr_db: Measure):
    model = with_weights(
        f"g (float[2, 4, 8] x, float[8, 5] w, {bias}, float[5, 3] v) => (float[2, 4, 3] y) "
        f"{{ m = MatMul(x, w) {add} r = Relu(h) y = MatMul(r, v) }}",
        w=(8, 5),
        b=(5,) if bias == "float[5] b" else (1, 1, 5),
        v=(5, 3),
    )
    result = quantized(model)
    kinds = Counter(v.dtype.name for v in result.graph.initializers.values() if v.dtype)
    assert kinds["INT32"] == 2  # the bias and its zero points
    assert sqnr_db(model, result) > 25


def test_a_sum_of_free_shape_behind_a_matmul_is_no_bias(quantized: Quantize, sqnr_db: Measure):
    model = with_weights(
        "g (float[N, 4, 8] x, float[8, 5] w, float[5] b) => (float[N, 4, 5] y) "
        "{ m = MatMul(x, w) y = Add(m, b) }",
        w=(8, 5),
        b=(5,),
    )
    result = quantized(model)
    assert not [v for v in result.graph.initializers.values() if v.dtype == ir.DataType.INT32]
    assert sqnr_db(model, result) > 25
