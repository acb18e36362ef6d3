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
