"""Folding BatchNormalization: the same numbers with one node less, or left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.graph.batchnorm import fold_batch_norms
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session
from onnx_pare.graph.verify import problems

HEAD = '<ir_version: 8, opset_import: ["": 17]> g '
NORM = "float[2] s = {2, -0.5}, float[2] b = {1, -1}, float[2] m = {0.25, 1}, float[2] v = {4, 0.25}"
IMAGES = "(float[N,2,3,3] x) => (float[N,2,P,Q] y)"
W = "float[2,2,2,2] w = {1, -2, 3, 4, -5, 6, 7, -8, 9, 1, -2, 3, -4, 5, 6, -7}"
W1 = "float[2,1,2,2] w = {1, -2, 3, 4, -5, 6, 7, -8}"
ROWS = "(float[N,3] x) => (float[N,2] y)"
TAIL = "y = BatchNormalization <epsilon = 0.01> (h, s, b, m, v)"


def outputs(model: ir.Model, path: Path) -> list[np.ndarray]:
    write_model(model, path)
    assert problems(path) == []
    shape = [4 if not isinstance(dim, int) else dim for dim in model.graph.inputs[0].shape or ()]
    feeds = {"x": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    return Session(path, optimize=False).run(feeds)


@pytest.mark.parametrize(
    ("ports", "constants", "layer"),
    [
        (IMAGES, W, "h = Conv (x, w)"),
        (IMAGES, f"{W}, float[2] c = {{3, -4}}", "h = Conv (x, w, c)"),
        (IMAGES, W1, "h = Conv <group = 2> (x, w)"),
        (IMAGES, W, "h = ConvTranspose (x, w)"),
        (IMAGES, f"{W1}, float[2] c = {{3, -4}}", "h = ConvTranspose <group = 2> (x, w, c)"),
        (ROWS, "float[3,2] w = {1, 2, 3, 4, 5, 6}", "h = Gemm <alpha = 2.0> (x, w)"),
        (ROWS, "float[3,2] w = {1, 2, 3, 4, 5, 6}, float c = {3}", "h = Gemm <beta = 0.5> (x, w, c)"),
        (
            ROWS,
            "float[2,3] w = {1, 2, 3, 4, 5, 6}, float[1,2] c = {3, 4}",
            "h = Gemm <transB = 1> (x, w, c)",
        ),
    ],
)
def test_folded(ports: str, constants: str, layer: str, tmp_path: Path) -> None:
    model = ir.from_onnx_text(f"{HEAD}{ports} <{constants}, {NORM}> {{ {layer}  {TAIL} }}")
    expected = outputs(model, tmp_path / "before.onnx")
    assert fold_batch_norms(model) == 1
    assert [value.name for value in model.graph.outputs] == ["y"]
    assert len(model.graph) == 1
    (result,) = outputs(model, tmp_path / "after.onnx")
    np.testing.assert_allclose(result, expected[0], rtol=1e-5, atol=1e-5)


def test_shared_weights_stay_for_the_other_layer(tmp_path: Path) -> None:
    text = (
        f"{HEAD}{IMAGES} <{W}, {NORM}> {{ a = Conv <pads = [0, 0, 1, 1]> (x, w)  h = Conv (a, w)  {TAIL} }}"
    )
    model = ir.from_onnx_text(text)
    expected = outputs(model, tmp_path / "before.onnx")
    assert fold_batch_norms(model) == 1
    np.testing.assert_allclose(outputs(model, tmp_path / "after.onnx")[0], expected[0], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("outs", "nodes"),
    [
        ("float[N,2,P,Q] y, float[N,2,P,Q] h", f"h = Conv (x, w)  {TAIL}"),
        ("float[N,2,P,Q] z", f"h = Conv (x, w)  {TAIL}  z = Add (y, h)"),
        ("float[N,2,P,Q] y", "h = Relu (x)  y = BatchNormalization (h, s, b, m, v)"),
        (
            "float[N,2,P,Q] y",
            "h = Conv (x, w)  y, p, q = BatchNormalization <training_mode = 1> (h, s, b, m, v)",
        ),
        ("float[N,2,P,Q] y", "h = Conv (x, w)  r = Relu (m)  y = BatchNormalization (h, s, b, r, v)"),
    ],
)
def test_left_alone(outs: str, nodes: str) -> None:
    model = ir.from_onnx_text(f"{HEAD}(float[N,2,3,3] x) => ({outs}) <{W}, {NORM}> {{ {nodes} }}")
    assert fold_batch_norms(model) == 0


def test_a_bias_that_differs_between_rows_is_left_alone() -> None:
    constants = f"float[3,2] w = {{1, 2, 3, 4, 5, 6}}, float[2,1] c = {{1, 2}}, {NORM}"
    text = f"(float[2,3] x) => (float[2,2] y) <{constants}> {{ h = Gemm (x, w, c)  {TAIL} }}"
    assert fold_batch_norms(ir.from_onnx_text(HEAD + text)) == 0
