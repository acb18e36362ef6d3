"""Clean-up by onnx-ir's passes: less nodes, same numbers, valid graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session
from onnx_pare.graph.tidy import tidy
from onnx_pare.graph.verify import problems

HEAD = '<ir_version: 8, opset_import: ["": 17, "ai.onnx.ml": 3]> g '


def test_what_goes() -> None:
    text = """(float[2] x) => (float[2] y) <float[2] two = {2, 2}, float[2] zwei = {2, 2}> {
      i = Identity (x)  c = Constant <value = float[2] {3, 3}> ()
      a = Mul (i, two)  b = Mul (x, zwei)  unused = Neg (a)  d = Add (a, b)  y = Add (d, c) }"""
    model = ir.from_onnx_text(HEAD + text)
    tidy(model)
    assert [node.op_type for node in model.graph] == ["Mul", "Add", "Add"]
    assert sorted(model.graph.initializers) == ["c", "two"]
    assert model.opset_imports == {"": 17}


def test_defaults_stay_inputs() -> None:
    model = ir.from_onnx_text(
        HEAD + "(float[2] x) => (float[2] y) <float[2] k = {2, 2}, float[2] w = {2, 2}> {"
        " a = Mul (x, k)  y = Mul (a, w) }"
    )
    model.graph.inputs.append(model.graph.initializers["k"])
    tidy(model)
    assert [value.name for value in model.graph.inputs] == ["x", "k"]
    assert sorted(model.graph.initializers) == ["k", "w"]


def test_a_branch_that_passes_on_an_outer_value(tmp_path: Path) -> None:
    text = """(float[2] x, bool[1] c) => (float[2] y) {
      a = Neg (x)
      y = If (c) < then_branch = t () => (float[2] p) { p = Identity (a) },
                   else_branch = e () => (float[2] q) { q = Neg (a) }> }"""
    model = ir.from_onnx_text(HEAD + text)
    tidy(model)
    write_model(model, tmp_path / "m.onnx")
    assert problems(tmp_path / "m.onnx") == []
    feeds = {"x": np.array([1, -2], np.float32), "c": np.array([True])}
    assert Session(tmp_path / "m.onnx").run(feeds)[0].tolist() == [-1, 2]
