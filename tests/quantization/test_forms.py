"""Forms made of integer kernels: which kernels, and that they compute the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import onnx_ir as ir
import pytest

from .conftest import with_weights

Quantize = Callable[..., ir.Model]
Count = Callable[[ir.Model], Counter[str]]
Measure = Callable[[ir.Model, ir.Model], float]


def between(body: str) -> ir.Model:
    """Two convolutions with something in between, all of known shape."""
    return with_weights(
        f"g (float[1, 3, 8, 8] x, float[8, 3, 3, 3] v, float[4, 8, 1, 1] z) => (float[n, c, h, k] y) "
        f"<float[1, 8, 6, 6] a> {{ a = Conv(x, v) {body} y = Conv(t, z) }}",
        v=(8, 3, 3, 3),
        z=(4, 8, 1, 1),
    )


FORMS = {
    "HardSwish": ("t = HardSwish(a)", {"QLinearAdd": 1, "QLinearMul": 1, "QLinearConv": 2}),
    "HardSigmoid": ("t = HardSigmoid(a)", {"QLinearAdd": 1, "QLinearConv": 2}),
    "HardSigmoid of a steep slope": (
        "t = HardSigmoid <alpha = 2.0, beta = 0.3> (a)",
        {"QLinearAdd": 1, "QLinearConv": 2},
    ),
    "AveragePool": ("t = AveragePool <kernel_shape = [2, 2]> (a)", {"QLinearConv": 3}),
    "AveragePool with strides and counted pads": (
        "t = AveragePool <kernel_shape = [3, 3], strides = [2, 2], "
        "pads = [1, 1, 1, 1], count_include_pad = 1> (a)",
        {"QLinearConv": 3},
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_integer_from_end_to_end_and_computes_the_same(
    form: str, quantized: Quantize, kernels_of: Count, sqnr_db: Measure
):
    body, kernels = FORMS[form]
    model = between(body)
    result = quantized(model)
    found = kernels_of(result)
    assert found == Counter(
        {**kernels, "QuantizeLinear": 1, "DequantizeLinear": 1, "Transpose": found["Transpose"]}
    )
    assert sqnr_db(model, result) > 25


OTHERS = {
    "pads that do not count": (
        "t = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (a)",
        "QLinearAveragePool",
    ),
    "rounding up": (
        "t = AveragePool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1> (a)",
        "QLinearAveragePool",
    ),
    "no slope": ("t = HardSigmoid <alpha = 0.0> (a)", "HardSigmoid"),
}


@pytest.mark.parametrize("reason", OTHERS)
def test_what_has_no_form_is_as_it_was(reason: str, quantized: Quantize, kernels_of: Count, sqnr_db: Measure):
    body, kernel = OTHERS[reason]
    model = between(body)
    result = quantized(model)
    assert kernels_of(result)[kernel] == 1
    assert sqnr_db(model, result) > 25


def test_a_hard_sigmoid_keeps_its_parameters_through_a_carrier(
    quantized: Quantize, kernels_of: Count, sqnr_db: Measure
):
    model = between("g = HardSigmoid(a) m = Mul(a, g) t = Transpose <perm = [0, 1, 3, 2]> (m)")
    result = quantized(model)
    assert kernels_of(result)["QLinearMul"] == 1
    assert sqnr_db(model, result) > 25
