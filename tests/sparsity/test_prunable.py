"""Finding the weights that can be pruned."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from onnx_pare.sparsity.prunable import find

HEAD = '<ir_version: 8, opset_import: ["": 17]> g '


@pytest.mark.parametrize(
    ("ports", "layer", "axis", "order", "rows"),
    [
        ("(float[N,3,4,4] x) => (float[N,2,4,4] y)", "Conv (x, k)", 1, (0, 1, 2, 3), 2),
        ("(float[N,2,4,4] x) => (float[N,3,4,4] y)", "ConvTranspose (x, k)", 0, (1, 0, 2, 3), 3),
        ("(float[N,2] x) => (float[N,3] y)", "Gemm (x, w)", 0, (1, 0), 3),
        ("(float[N,3] x) => (float[N,2] y)", "Gemm <transB = 1> (x, w)", 1, (0, 1), 2),
        ("(float[2,5] x) => (float[3,5] y)", "Gemm <transA = 1> (w, x)", 0, (1, 0), 3),
        ("(float[N,2] x) => (float[N,3] y)", "MatMul (x, w)", -2, (1, 0), 3),
        ("(float[3,5] x) => (float[2,5] y)", "MatMul (w, x)", -1, (0, 1), 2),
        ("(float[N,2] x) => (float[N] y)", "MatMul (x, v)", -1, (0,), 1),
    ],
)
def test_axis_and_matrix(ports: str, layer: str, axis: int, order: tuple[int, ...], rows: int) -> None:
    content = "{1, 2, 3, 4, 5, 6}"
    constants = f"float[2,3] w = {content}, float[2,3,1,1] k = {content}, float[2] v = {{1, 2}}"
    (weight,), left = find(ir.from_onnx_text(f"{HEAD}{ports} <{constants}> {{ y = {layer} }}"))
    shape = weight.read().shape
    assert (weight.axis, weight.matrix_order(len(shape)), weight.matrix_rows(shape)) == (axis, order, rows)
    assert left == {}


def test_a_weight_that_is_also_an_input_is_found() -> None:
    model = ir.from_onnx_text(
        HEAD + "(float[N,2] x) => (float[N,1] y) <float[2,1] w = {1, 2}> { y = MatMul (x, w) }"
    )
    model.graph.inputs.append(model.graph.initializers["w"])
    (weight,), _ = find(model)
    assert weight.value.name == "w"


def test_why_others_are_left_alone() -> None:
    text = """(uint8[N,2] x, float[2,2] z) => (float[2,2] y, int32[N,2] q) <int8[2,2] w = {1,2,3,4}> {
      a = MatMul (z, z)  y = Relu (a)  q = MatMulInteger (x, w) }"""
    model = ir.from_onnx_text(HEAD + text)
    for node in model.graph:
        node.name = node.op_type
    assert find(model) == (
        [],
        {"MatMul": "its weights are not constant", "MatMulInteger": "its weights are quantized"},
    )
