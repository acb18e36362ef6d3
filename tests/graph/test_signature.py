from __future__ import annotations

import onnx_ir as ir

from onnx_pare.graph.signature import Port, Signature, signature

MODEL = """
<ir_version: 3, opset_import: ["": 8]>
g (float[N, 2] x, float[2] w) => (float[N, 2] y, int64[2] n)
<float[2] w = {1.0, 2.0}>
{ y = Add(x, w)  n = Shape(x) }
"""


def test_initializers_among_the_inputs_need_not_be_fed() -> None:
    assert signature(ir.from_onnx_text(MODEL)) == Signature(
        inputs=(Port("x", "float32", ("N", 2)),),
        outputs=(Port("y", "float32", ("N", 2)), Port("n", "int64", (2,))),
    )


def test_what_is_unknown_is_none() -> None:
    model = ir.from_onnx_text(MODEL)
    model.graph.outputs[0].shape = None
    model.graph.inputs[0].shape = ir.Shape([None, 2])
    found = signature(model)
    assert found.outputs[0].shape is None
    assert found.inputs[0].shape == (None, 2)
