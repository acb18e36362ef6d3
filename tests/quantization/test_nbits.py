from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.bench.tally import decibels
from onnx_pare.graph.edit import Names
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session
from onnx_pare.quantization.levels import levels_of
from onnx_pare.quantization.nbits import fits, packed, supported, write_nbits
from onnx_pare.quantization.weight_only import Quantized, quantize_matrix

HEAD = '<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>'


def model_with(body: str, weight: np.ndarray) -> tuple[ir.Model, ir.Value]:
    """Return a model whose weight `w` is an initializer."""
    shape = list(weight.shape)
    model = ir.from_onnx_text(
        f"{HEAD} g (float[3,70] x, float[24] c, float{shape} w) => (float[3,24] y) {{ {body} }}"
    )
    value = model.graph.inputs.pop()
    value.const_value = ir.tensor(weight, name="w")
    model.graph.register_initializer(value)
    return model, value


def run(model: ir.Model, path: Path) -> np.ndarray:
    write_model(model, path)
    rng = np.random.default_rng(1)
    feeds = {"x": rng.normal(size=(3, 70)).astype(np.float32), "c": rng.normal(size=24).astype(np.float32)}
    return Session(path).run(feeds)[0]


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(
    ("body", "transposed"),
    [
        ("m = MatMul (x, w)  y = Add (m, c)", False),
        ("y = Gemm <alpha = 0.5> (x, w, c)", False),
        ("y = Gemm <transB = 1> (x, w, c)", True),
        ("b = Constant <value = float[24] {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, "
        "10, 11, 12}> ()  t = Gemm <beta = 2.0> (x, w, b)  y = Add (t, c)", False),
    ],
)  # fmt: skip
def test_it_computes_what_the_product_did(bits: int, body: str, transposed: bool, tmp_path: Path) -> None:
    if not supported(bits):
        pytest.skip("not in this onnxruntime")
    matrix = np.random.default_rng(0).normal(size=(24, 70)).astype(np.float32)
    model, value = model_with(body, matrix if transposed else np.ascontiguousarray(matrix.T))
    before = run(model, tmp_path / "before.onnx")
    assert fits(value)
    found = quantize_matrix(matrix, levels_of("uniform", bits), 32)
    write_nbits(value, model.graph, found, bits, Names(model))
    assert "MatMulNBits" in {node.op_type for node in model.graph}
    after = run(model, tmp_path / "after.onnx")
    assert decibels(np.square(before).sum(), np.square(after - before).sum()) > (15 if bits == 4 else 33)


@pytest.mark.parametrize(
    "body",
    [
        "t = Transpose (x)  y = Gemm <transA = 1> (t, w)",
        "y = Gemm <beta = 2.0> (x, w, c)",
        "y = MatMul (w, w)",
        "m = MatMul (x, w)  y = Add (m, w)",
    ],
)
def test_what_it_cannot_take_over(body: str) -> None:
    assert not fits(model_with(body, np.ones((70, 24), np.float32))[1])


def test_two_codes_a_byte_the_low_one_first() -> None:
    codes = np.array([[-8, 7, 0]], np.int8)
    found = Quantized(codes, np.ones((1, 1), np.float32), 16, 0.0, 0.0)
    assert packed(found, 4).tolist() == [[[0xF0, 0x88, *[0x88] * 6]]]
    assert packed(found, 8)[0, 0, :4].tolist() == [120, 135, 128, 128]


def test_4_bits_are_supported() -> None:
    assert supported(4)
