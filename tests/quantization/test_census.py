from __future__ import annotations

import onnx_ir as ir

from onnx_pare.quantization.census import quantized_nodes


def test_finds_what_quantizes_and_what_computes_in_integers():
    model = ir.from_onnx_text(
        """<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
        g (float[1, 4] x, float s, uint8 z) => (float[1, 4] y) {
            q = QuantizeLinear(x, s, z)
            a = com.microsoft.QLinearSigmoid(q, s, z, s, z)
            d = DequantizeLinear(a, s, z)
            y = Relu(d)
        }"""
    )
    assert [node.op_type for node in quantized_nodes(model)] == [
        "QuantizeLinear",
        "QLinearSigmoid",
        "DequantizeLinear",
    ]


def test_a_float_model_has_none():
    model = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["": 17]> g (float[1] x) => (float[1] y) { y = Relu(x) }'
    )
    assert quantized_nodes(model) == []


def test_stored_weights_that_are_cast_to_floats():
    model = ir.from_onnx_text(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[N, 2] x, uint8[2, 2] z) => (float[N, 2] y)
        <int8[2, 2] w = {1, 2, 3, 4}, uint8[2] palette = {1, 2}, int64[2, 2] i = {1, 2, 3, 4}> {
            f = Cast <to = 1> (w)
            p = Cast <to = 1> (palette)
            n = Cast <to = 1> (i)
            c = Cast <to = 1> (z)
            y = Sum(x, f, p, n, c)
        }"""
    )
    (found,) = quantized_nodes(model)
    assert found.inputs[0].name == "w"
