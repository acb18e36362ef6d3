"""Rewriting to half precision: what is renamed, shared and retyped."""

from __future__ import annotations

import onnx.parser
import onnx_ir as ir

from onnx_pare.quantization.half_plan import capable, fit
from onnx_pare.quantization.half_ranges import Ranges
from onnx_pare.quantization.half_slots import float_tensors
from onnx_pare.quantization.halves import store_halves, write_halves

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[2,2] x) => (float[2,2] h, float[2,2] y)
    <float[2,2] w = {1,2,3,4}, float[2,2] h_fp16 = {1,2,3,4}, float[2,2] k> {
        h = MatMul(x, w)
        k = Relu(h)
        y = MatMul(k, h_fp16)
    }"""


def build() -> ir.Model:
    return ir.from_proto(onnx.parser.parse_model(TEXT))


def test_clones_keep_their_types() -> None:
    source = build()
    model = source.clone()
    plan = capable(model, float_tensors(model), set())
    fit(plan, Ranges(), 2.0)
    written = write_halves(model, plan)
    assert (written.weights, written.casts, written.saved_bytes) == (2, 3, 16)
    assert all(node.outputs[0].dtype in (ir.DataType.FLOAT, None) for node in source.graph)
    types = {value.name: value.dtype for node in model.graph for value in node.outputs}
    assert types["k"] == ir.DataType.FLOAT16
    assert types["h"] == types["y"] == ir.DataType.FLOAT
    assert [value.name for value in model.graph.outputs] == ["h", "y"]


def test_stored_weights_keep_the_name_their_readers_see() -> None:
    model = build()
    store_halves(model, ir.DataType.BFLOAT16, [model.graph.initializers["w"]])
    matmul = next(node for node in model.graph if node.op_type == "MatMul")
    weight = matmul.inputs[1]
    assert weight is not None
    assert weight.name == "w"
    cast = weight.producer()
    assert cast is not None
    assert cast.inputs[0] is model.graph.initializers["w_bf16"]
    assert model.graph.initializers["w_bf16"].dtype == ir.DataType.BFLOAT16
