from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import onnx_ir as ir
import pytest

from .conftest import with_weights

Quantize = Callable[..., ir.Model]
Measure = Callable[[ir.Model, ir.Model], float]
Count = Callable[[ir.Model], Counter[str]]

MLP = """g (float[N, 16] x, float[16, 32] a, float[32] b, float[10, 32] c) => (float[N, 10] y) {
    h = Gemm(x, a, b)
    r = Relu(h)
    y = Gemm <transB = 1> (r, c)
}"""


def mlp() -> ir.Model:
    return with_weights(MLP, a=(16, 32), b=(32,), c=(10, 32))


@pytest.mark.parametrize("per_channel", [True, False])
def test_outputs_stay_close(per_channel: bool, quantized: Quantize, sqnr_db: Measure):
    model = mlp()
    assert sqnr_db(model, quantized(model, mode="dynamic", per_channel=per_channel)) > 30


def test_onnxruntime_fuses_it(quantized: Quantize, kernels_of: Count):
    found = kernels_of(quantized(mlp(), mode="dynamic"))
    assert found["DynamicQuantizeMatMul"] == 2
    assert "MatMulInteger" not in found


def test_an_activation_read_twice_is_quantized_once(quantized: Quantize, sqnr_db: Measure):
    model = with_weights(
        "g (float[2, 3, 16] x, float[16, 8] a, float[16, 8] b) => (float[2, 3, 8] y) "
        "{ p = MatMul(x, a) q = MatMul(x, b) y = Add(p, q) }",
        a=(16, 8),
        b=(16, 8),
    )
    result = quantized(model, mode="dynamic")
    assert Counter(node.op_type for node in result.graph)["DynamicQuantizeLinear"] == 1
    assert sqnr_db(model, result) > 30


def test_skip_leaves_a_node_float(quantized: Quantize):
    model = mlp()
    first = model.graph[0]
    first.name = "first"
    kinds = Counter(node.op_type for node in quantized(model, mode="dynamic", skip=["first"]).graph)
    assert (kinds["Gemm"], kinds["MatMulInteger"]) == (1, 1)


def test_float_weights_are_gone(quantized: Quantize):
    stored = quantized(mlp(), mode="dynamic").graph.initializers.values()
    kinds = {
        value.dtype.name
        for value in stored
        if value.shape is not None and len(value.shape) == 2 and value.dtype
    }
    assert kinds == {"INT8"}
