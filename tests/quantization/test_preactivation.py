from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.quantization.preactivation import norms_as_convolutions

from .conftest import with_weights

Quantize = Callable[..., ir.Model]
Count = Callable[[ir.Model], Counter[str]]
Measure = Callable[[ir.Model, ir.Model], float]


def preactivated(body: str) -> ir.Model:
    model = with_weights(
        "g (float[1, 3, 8, 8] x, float[8, 3, 3, 3] v, float[4, 8, 1, 1] z, float[8] s, float[8] b, "
        "float[8] m, float[8] d) => (float[p, c, h, w] y) "
        f"{{ a = Conv(x, v) q = MaxPool <kernel_shape = [2, 2]> (a) {body} }}",
        v=(8, 3, 3, 3),
        z=(4, 8, 1, 1),
        s=(8,),
        b=(8,),
        m=(8,),
        d=(8,),
    )
    variance = model.graph.initializers["d"]
    assert variance.const_value is not None
    variance.const_value = ir.tensor(np.abs(variance.const_value.numpy()) + 0.5, name="d")
    return model


NORM = "n = BatchNormalization <epsilon = 0.01> (q, s, b, m, d)"


def test_a_preactivation_becomes_an_integer_kernel_that_computes_the_same(
    quantized: Quantize, kernels_of: Count, sqnr_db: Measure
):
    model = preactivated(f"{NORM} r = Relu(n) y = Conv(r, z)")
    converted = model.clone()
    assert norms_as_convolutions(converted) == 1
    assert sqnr_db(model, converted) > 120
    found = kernels_of(quantized(converted))
    assert not found.keys() & {"BatchNormalization", "Relu", "Conv"}
    assert found["QLinearConv"] == 3
    assert sqnr_db(model, quantized(converted)) > 25


LEFT = {
    "read by others": "e = Exp(n) w = Conv(n, z) y = Conv(e, z)",
    "no convolution after it": "e = Exp(n) y = Conv(e, z)",
    "an output": "y = Identity(n)",
}


@pytest.mark.parametrize("reason", LEFT)
def test_other_norms_are_left_alone(reason: str):
    model = preactivated(f"{NORM} {LEFT[reason]}")
    assert norms_as_convolutions(model) == 0
    assert "BatchNormalization" in [node.op_type for node in model.graph]
