"""simplify: what goes, what stays, and what happens when onnxsim misbehaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.graph import simplifier
from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import serialize, write_model
from onnx_pare.graph.session import Session
from onnx_pare.passes import simplify
from onnx_pare.passes.base import Context, Outcome
from onnx_pare.passes.simplify import Simplify

Check = Callable[..., Outcome]
MakeContext = Callable[..., Context]

HEAD = '<ir_version: 8, opset_import: ["": 17]>\n'
NEEDLESS = (
    HEAD
    + """
g (float[N,4] x) => (float[N,4] y)
<float[4] two = {2, 2, 2, 2}> {
   copy = Identity (x)
   four = Add (two, two)
   a = Mul (copy, four)
   unused = Neg (a)
   b = Relu (a)
   c = Relu (a)
   y = Add (b, c)
}"""
)
PLAIN = (
    HEAD
    + """
g (float[N,4] x) => (float[N,4] y)
<float[4] four = {4, 4, 4, 4}> {
   a = Mul (x, four)
   b = Relu (a)
   y = Add (b, b)
}"""
)
NORM = "float[2] s = {2, 0.5}, float[2] b = {1, -1}, float[2] m = {0.25, 1}, float[2] v = {4, 0.25}"


def run_onnxsim_as(result: Callable[[Path, Path], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `result(source, target)` stand for onnxsim."""
    monkeypatch.setattr(simplify, "run_onnxsim", lambda source, target, **_: result(source, target))


def fails(source: Path, target: Path) -> None:
    raise simplifier.SimplifierError("onnxsim was ended by SIGSEGV")


def test_needless_nodes_go(check_rewrites: Check) -> None:
    outcome = check_rewrites(Simplify(), NEEDLESS, PLAIN)
    assert outcome.changed == 4
    assert outcome.notes["removed"] == {"Add": 1, "Identity": 1, "Neg": 1, "Relu": 1}
    assert outcome.notes["by"] == "onnxsim"
    assert outcome.warnings == ()


def test_a_plain_model_stays(check_untouched: Check) -> None:
    outcome = check_untouched(Simplify(), PLAIN)
    assert outcome.notes["nodes_before"] == outcome.notes["nodes_after"] == 3
    assert outcome.warnings == ()


@pytest.mark.parametrize("layer", ["Conv <group = 2>", "ConvTranspose <group = 2>"])
def test_batch_norm_is_folded(layer: str, check_rewrites: Check) -> None:
    ports = "g (float[N,2,3,3] x) => (float[N,2,3,3] y)"
    before = f"""{HEAD} {ports} <float[2,1,1,1] w = {{3, -2}}, {NORM}>
      {{ h = {layer} (x, w)  y = BatchNormalization (h, s, b, m, v) }}"""
    # g = s / sqrt(v + 1e-5) = 0.99999875, 0.99998
    weights = "<float[2,1,1,1] w = {2.99999625, -1.99996}, float[2] b = {0.7500003, -1.99998}>"
    after = f"{HEAD} {ports} {weights} {{ y = {layer} (x, w, b) }}"
    outcome = check_rewrites(Simplify(), before, after)
    assert outcome.notes["removed"] == {"BatchNormalization": 1}


def test_a_free_batch_stays_free(context: MakeContext, tmp_path: Path) -> None:
    text = f"""{HEAD} g (float[N,2,3] x) => (float[N,6] y) <int64[1] six = {{6}}, int64[1] axis = {{0}},
      int64 first = {{0}}> {{
      shape = Shape (x)  n = Gather (shape, first)  n1 = Unsqueeze (n, axis)
      to = Concat <axis = 0> (n1, six)  y = Reshape (x, to) }}"""
    model = ir.from_onnx_text(text)
    result = Simplify().apply(model, context(model)).model
    assert len(result.graph) < len(model.graph)
    assert str(result.graph.outputs[0].shape) == str(model.graph.outputs[0].shape)
    write_model(result, tmp_path / "m.onnx")
    x = np.arange(30, dtype=np.float32).reshape(5, 2, 3)
    np.testing.assert_array_equal(Session(tmp_path / "m.onnx").run({"x": x})[0], x.reshape(5, 6))


def test_a_crash_is_survived(
    context: MakeContext, check_rewrites: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_onnxsim_as(fails, monkeypatch)
    # onnx-ir alone folds no constants
    after = PLAIN.replace("float[4] four = {4, 4, 4, 4}", "float[4] two = {2, 2, 2, 2}").replace(
        "a = Mul (x, four)", "four = Add (two, two)  a = Mul (x, four)"
    )
    outcome = check_rewrites(Simplify(), NEEDLESS, after)
    assert outcome.notes["by"] == "onnx-ir"
    assert "SIGSEGV" in outcome.warnings[0]


def test_other_outputs_are_rolled_back(check_rewrites: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(source: Path, target: Path) -> None:
        model = ir.from_onnx_text(PLAIN.replace("{4, 4, 4, 4}", "{4, 4, 4, 4.01}"))
        write_model(model, target)

    run_onnxsim_as(wrong, monkeypatch)
    after = NEEDLESS.replace("copy = Identity (x)", "").replace("copy", "x").replace("unused = Neg (a)", "")
    outcome = check_rewrites(
        Simplify(), NEEDLESS, after.replace("c = Relu (a)", "").replace("(b, c)", "(b, b)")
    )
    assert "output 'y' differs by" in outcome.warnings[0]


def test_a_baked_batch_is_rolled_back(context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = "g (float[N,2,3] x) => (float[N,6] y)"
    keep = ports + " <int64[2] to = {0, 6}> { a = Identity (x)  y = Reshape (a, to) }"
    bake = keep.replace("{0, 6}", "{1, 6}").replace("a = Identity (x)", "").replace("(a,", "(x,")
    run_onnxsim_as(lambda source, target: write_model(ir.from_onnx_text(HEAD + bake), target), monkeypatch)
    model = ir.from_onnx_text(HEAD + keep)
    outcome = Simplify().apply(model, context(model, count=1))
    assert outcome.notes["by"] == "onnx-ir"
    assert "does not run on x (2, 2, 3)" in outcome.warnings[0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({'["": 17]': '["": 18]'}, "it needs opset 18 of 'ai.onnx'"),
        ({"float[N,4] y": "float[N,4] z", "y = Add": "z = Add"}, "outputs were ['y'], are ['z']"),
        ({"float[N,4] x": "float[N,4] q", "(x, four)": "(q, four)"}, "its inputs are others"),
    ],
)
def test_a_changed_interface_is_rolled_back(
    changes: dict[str, str], reason: str, context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = PLAIN
    for old, new in changes.items():
        text = text.replace(old, new)
    run_onnxsim_as(lambda source, target: write_model(ir.from_onnx_text(text), target), monkeypatch)
    model = ir.from_onnx_text(NEEDLESS)
    outcome = Simplify().apply(model, context(model))
    assert outcome.notes["by"] == "onnx-ir"
    assert reason in outcome.warnings[0]


def test_nothing_holds(context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(model: ir.Model) -> None:
        raise RuntimeError("no pass works today")

    run_onnxsim_as(fails, monkeypatch)
    monkeypatch.setattr(simplify, "tidy", broken)
    model = ir.from_onnx_text(NEEDLESS)
    before = serialize(model)
    outcome = Simplify().apply(model, context(model))
    assert (outcome.changed, serialize(outcome.model)) == (0, before)
    assert outcome.warnings[0].startswith("the model was left as it is")
    assert "no pass works today" in outcome.warnings[0]


def test_a_hanging_onnxsim_is_not_asked_twice(context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def hang(source: Path, target: Path) -> None:
        calls.append(source)
        raise simplifier.SimplifierTimeoutError("onnxsim did not end within 1 s and was stopped")

    run_onnxsim_as(hang, monkeypatch)
    model = ir.from_onnx_text(NEEDLESS)
    outcome = Simplify(Simplify.Options(timeout_s=1)).apply(model, context(model))
    assert (len(calls), outcome.notes["by"]) == (1, "onnx-ir")
    assert "did not end within 1 s" in outcome.warnings[0]


def test_metadata_stays(context: MakeContext) -> None:
    model = ir.from_onnx_text(NEEDLESS)
    model.metadata_props["labels"] = "a,b"
    model.producer_name = "me"
    relu = next(node for node in model.graph if node.op_type == "Relu")
    relu.name, relu.doc_string = "my_relu", "keep me"
    relu.metadata_props["measured"] = "0.5"
    result = Simplify().apply(model, context(model)).model
    kept = next(node for node in result.graph if node.op_type == "Relu")
    assert (kept.name, kept.doc_string, dict(kept.metadata_props)) == (
        "my_relu",
        "keep me",
        {"measured": "0.5"},
    )
    assert (dict(result.metadata_props), result.producer_name) == ({"labels": "a,b"}, "me")


def test_a_default_stays_overridable(context: MakeContext, tmp_path: Path) -> None:
    model = ir.from_onnx_text(NEEDLESS)
    model.graph.inputs.append(model.graph.initializers["two"])
    outcome = Simplify().apply(model, context(model))
    assert outcome.changed > 0
    assert [value.name for value in outcome.model.graph.inputs] == ["x", "two"]
    write_model(outcome.model, tmp_path / "m.onnx")
    session = Session(tmp_path / "m.onnx")
    x = np.ones((1, 4), np.float32)
    assert session.run({"x": x})[0].tolist() == [[8.0] * 4]
    assert session.run({"x": x, "two": x[0]})[0].tolist() == [[4.0] * 4]


def test_random_models_are_left_alone(check_untouched: Check) -> None:
    nodes = "{ r = RandomNormalLike (x)  z = Identity (r)  y = Add (x, z) }"
    text = f"{HEAD} g (float[2] x) => (float[2] y) {nodes}"
    assert "RandomNormalLike" in check_untouched(Simplify(), text).warnings[0]


def test_external_data(context: MakeContext, tmp_path: Path) -> None:
    ir.save(ir.from_onnx_text(NEEDLESS), tmp_path / "m.onnx", external_data="w.bin", size_threshold_bytes=0)
    model = load_model(tmp_path / "m.onnx")
    outcome = Simplify().apply(model, context(model))
    assert outcome.notes["by"] == "onnxsim"
    assert outcome.changed == 4


def test_real_model_is_simpler_and_a_second_run_changes_nothing(shared: Path, context: MakeContext) -> None:
    model = load_model(shared / "models" / "ultraface_rfb320.onnx")
    first = Simplify().apply(model, context(model, count=1))
    assert (first.notes["nodes_before"], first.notes["nodes_after"]) == (242, 124)
    assert first.notes["removed"]["BatchNormalization"] == 35
    second: Any = Simplify().apply(first.model, context(model, count=1))
    assert second.changed == 0


def test_nested_branches_are_kept(shared: Path, context: MakeContext) -> None:
    model = load_model(shared / "models" / "silero_vad_16k.onnx")
    outcome = Simplify().apply(
        model, context(model, count=1, shapes={"input": (1, 576), "state": (2, 1, 128)})
    )
    assert outcome.notes["by"] == "onnxsim, branches kept"
    assert outcome.notes["nodes_after"] < outcome.notes["nodes_before"] // 2
