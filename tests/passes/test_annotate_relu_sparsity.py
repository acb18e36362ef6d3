"""annotate_relu_sparsity: what is measured, and that it lives in the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare import __version__
from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session
from onnx_pare.graph.verify import problems
from onnx_pare.passes.annotate_relu_sparsity import AnnotateReluSparsity
from onnx_pare.passes.base import Context, Outcome
from onnx_pare.passes.simplify import Simplify
from onnx_pare.sparsity.metadata import read_measurement, read_zeros
from onnx_pare.sparsity.share import Measurement

Check = Callable[..., Outcome]
MakeContext = Callable[..., Context]

HEAD = '<ir_version: 8, opset_import: ["": 17]>\n'
# channel 0 is positive everywhere, channel 1 negative, channel 2 what the input is
NET = (
    HEAD
    + """
g (float[N,3,4] x) => (float[N,3,4] y)
<float[3,1] scale = {0, 0, 1}, float[3,1] shift = {1, -1, 0}, float zero = {0}, float six = {6}> {
   a = Mul (x, scale)
   b = Add (a, shift)
   r = Relu (b)
   c = Clip (b, zero, six)
   y = Add (r, c)
}"""
)


def by_op(model: ir.Model) -> dict[str, ir.Node]:
    return {node.op_type: node for node in model.graph}


def test_fractions_per_channel_and_dead_channels(context: MakeContext) -> None:
    model = ir.from_onnx_text(NET)
    setting = context(model, count=5)
    outcome = AnnotateReluSparsity().apply(model, setting)
    x = np.concatenate([feeds["x"] for feeds in setting.samples])
    negative = float((x[:, 2] <= 0).mean())
    zeros = read_zeros(by_op(model)["Relu"])
    assert zeros is not None
    assert zeros.per_channel == pytest.approx((0, 1, negative), abs=1e-4)
    assert zeros.fraction == pytest.approx((1 + negative) / 3, abs=1e-6)
    assert (zeros.channel_axis, zeros.dead_channels) == (1, (1,))
    assert read_zeros(by_op(model)["Clip"]) == zeros
    assert (outcome.changed, outcome.notes["dead_channels"]) == (2, 2)


def test_the_measurement_is_described(context: MakeContext) -> None:
    model = ir.from_onnx_text(NET)
    outcome = AnnotateReluSparsity().apply(model, context(model, count=5))
    overall = outcome.notes["zero_fraction"]
    expected = Measurement(5, "synthetic (seed 0)", True, overall, f"onnx-pare {__version__}")
    assert read_measurement(model) == expected


def test_a_second_run_on_the_same_data_changes_nothing(context: MakeContext, check_untouched: Check) -> None:
    model = ir.from_onnx_text(NET)
    AnnotateReluSparsity().apply(model, context(model))
    check_untouched(AnnotateReluSparsity(), model)
    assert AnnotateReluSparsity().apply(model, context(model, seed=1)).changed == 2


def test_survives_a_file_and_simplify(context: MakeContext, tmp_path: Path) -> None:
    model = ir.from_onnx_text(NET.replace("a = Mul (x, scale)", "i = Identity (x)  a = Mul (i, scale)"))
    AnnotateReluSparsity().apply(model, context(model))
    write_model(model, tmp_path / "m.onnx")
    loaded = load_model(tmp_path / "m.onnx")
    assert loaded.ir_version == 8
    assert problems(tmp_path / "m.onnx") == []
    simple = Simplify().apply(loaded, context(loaded))
    assert simple.changed == 1
    for result in (loaded, simple.model):
        assert read_zeros(by_op(result)["Relu"]) == read_zeros(by_op(model)["Relu"])
        assert read_measurement(result) == read_measurement(model)


def test_channels_are_last_behind_a_matmul(context: MakeContext) -> None:
    text = f"""{HEAD} g (float[N,2,4] x) => (float[N,2,3] y)
      <float[4,3] w = {{0,0,0, 0,0,0, 0,0,0, 0,0,0}}, float[3] b = {{1, -1, 1}}>
      {{ a = MatMul (x, w)  h = Add (b, a)  y = Relu (h) }}"""
    model = ir.from_onnx_text(text)
    AnnotateReluSparsity().apply(model, context(model))
    zeros = read_zeros(by_op(model)["Relu"])
    assert zeros is not None
    assert (zeros.channel_axis, zeros.per_channel, zeros.dead_channels) == (2, (0, 1, 0), (1,))


def test_padding_of_a_fixed_batch_is_not_counted(context: MakeContext) -> None:
    fixed, free = ir.from_onnx_text(NET.replace("float[N,", "float[4,")), ir.from_onnx_text(NET)
    for model in (fixed, free):
        AnnotateReluSparsity().apply(model, context(model, count=6))
    assert read_zeros(by_op(fixed)["Relu"]) == read_zeros(by_op(free)["Relu"])


def test_nothing_to_measure(check_untouched: Check) -> None:
    text = f"{HEAD} g (float[N,4] x) => (float[N,4] y) {{ y = Sigmoid (x) }}"
    assert check_untouched(AnnotateReluSparsity(), text).warnings[0].startswith("no Relu")


def test_branches_are_left_alone(check_untouched: Check) -> None:
    text = f"""{HEAD} g (bool[1] c, float[4] x) => (float[4] y) {{
      y = If (c) < then_branch = t () => (float[4] p) {{ p = Relu (x) }},
                   else_branch = e () => (float[4] q) {{ q = Identity (x) }}> }}"""
    outcome = check_untouched(AnnotateReluSparsity(), text)
    assert outcome.notes["left_alone"] == 1
    assert "1 inside of subgraphs" in outcome.warnings[0]


@pytest.mark.parametrize("ir_version", [4, 8, 10])
def test_old_files_keep_their_version_and_load(ir_version: int, context: MakeContext, tmp_path: Path) -> None:
    model = ir.from_onnx_text(NET.replace("ir_version: 8", f"ir_version: {ir_version}"))
    setting = context(model)
    reference = tmp_path / "before.onnx"
    write_model(model, reference)
    AnnotateReluSparsity().apply(model, replace(setting, threads=2))
    write_model(model, tmp_path / "m.onnx")
    assert model.ir_version == ir_version
    assert problems(tmp_path / "m.onnx") == []
    for feeds in setting.samples:
        np.testing.assert_array_equal(
            Session(tmp_path / "m.onnx").run(feeds)[0], Session(reference).run(feeds)[0]
        )
