from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnx_pare.bench.paired import APART
from onnx_pare.errors import OutputError
from onnx_pare.graph import lean, wire
from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import serialize, write_model
from onnx_pare.graph.session import newest_ir_version
from onnx_pare.pipeline.measure import measure
from onnx_pare.pipeline.plan import Job
from onnx_pare.pipeline.recipe import Recipe, load_recipe
from onnx_pare.pipeline.run import run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return the file of a small classifier with a free batch."""
    net = ir.from_onnx_text(
        """<ir_version: 8, opset_import: ["": 17]> g (float[N, 16] x) => (float[N, 5] y)
        { h = MatMul(x, a) r = Relu(h) y = MatMul(r, b) }"""
    )
    values = ir.convenience.create_value_mapping(net.graph)
    rng = np.random.default_rng(0)
    for name, shape in (("a", (16, 32)), ("b", (32, 5))):
        values[name].const_value = ir.tensor(rng.normal(size=shape).astype(np.float32), name=name)
        net.graph.register_initializer(values[name])
    write_model(net, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def recipe(folder: Path, text: str) -> Recipe:
    (folder / "test.yaml").write_text(f"version: 1\nbenchmark: {{profiles: []}}\n{text}")
    return load_recipe(str(folder / "test.yaml"))


def test_the_result_lies_beside_the_model_and_loads(model: Path, tmp_path: Path):
    report = run(Job(model, recipe(tmp_path, "passes: [{quantize_int8: {select: all}}]")))
    assert report.output is not None
    assert report.output.path == str(tmp_path / "net.test.onnx")
    assert report.output.sha256 == hashlib.sha256(Path(report.output.path).read_bytes()).hexdigest()
    kinds = {node.op_type for node in load_model(Path(report.output.path)).graph}
    assert "QuantizeLinear" in kinds
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "net.test.onnx", "test.yaml"]


def test_the_report_has_the_documented_keys_and_no_nan(model: Path, tmp_path: Path):
    np.savez(tmp_path / "val.npz", x=np.eye(16, dtype=np.float32), y=np.arange(16) % 5)
    text = "passes: [{quantize_int8: {select: all}}]\nevaluation: {data: val.npz}\n"
    text += "gates: [sqnr_db>=10, top1_drop<=1]"
    text = text.replace("passes", "calibration: {samples: 4}\npasses")
    (tmp_path / "test.yaml").write_text(f"version: 1\nbenchmark: {{runs: 3}}\n{text}")
    report = run(Job(model, load_recipe(str(tmp_path / "test.yaml")), seed=3, command="optimize net.onnx"))
    found = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert found["schema"] == "onnx-pare/report/1"
    assert set(found) == {
        "schema", "tool", "seed", "command", "model", "recipe", "calibration", "passes", "before", "after",
        "fidelity", "accuracy", "latency", "gates", "baseline", "warnings", "output", "machine", "seconds",
        "peak_rss_bytes",
    }  # fmt: skip
    assert set(found["model"]) >= {"path", "sha256", "size_bytes", "opset", "inputs", "outputs"}
    assert found["model"]["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["N", 16]}]
    assert found["calibration"] == {"source": "synthetic (seed 3)", "samples": 4, "random": True}
    assert set(found["before"]) == set(found["after"]) == {
        "size_bytes", "params", "nonzero_params", "macs", "effective_macs", "peak_activation_bytes", "nodes",
        "uncounted_ops",
    }  # fmt: skip
    assert found["before"]["macs"] == 16 * 32 + 32 * 5
    assert found["accuracy"]["samples"] == 16
    (entry,) = found["latency"]
    assert (entry["profile"], entry["kind"], entry["runs"]) == ("local", "measured", 3)
    assert [gate["passed"] for gate in found["gates"]] == [True, True]
    assert found["passes"][0]["options"]["mode"] == "static"


def test_gates_that_are_not_met_still_write(model: Path, tmp_path: Path):
    report = run(
        Job(model, recipe(tmp_path, "passes: [{quantize_int8: {select: all}}]\ngates: ['size_ratio<=0.01']"))
    )
    assert not report.passed
    assert (tmp_path / "net.test.onnx").is_file()


def test_the_same_seed_gives_the_same_bytes(model: Path, tmp_path: Path):
    one = recipe(tmp_path, "passes: [{quantize_int8: {select: all}}]")
    shas = {run(Job(model, one, tmp_path / f"{i}.onnx", seed=7)).output.sha256 for i in (0, 1)}  # type: ignore[union-attr]
    assert len(shas) == 1


def test_a_model_that_nothing_changes_is_copied_byte_for_byte(tmp_path: Path):
    net = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["": 17]> g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }'
    )
    write_model(net, tmp_path / "net.onnx")
    run(Job(tmp_path / "net.onnx", recipe(tmp_path, "passes: [{quantize_int8: {select: all}}]")))
    assert (tmp_path / "net.test.onnx").read_bytes() == (tmp_path / "net.onnx").read_bytes()


def test_an_ir_version_newer_than_onnxruntime_s_is_lowered(model: Path, tmp_path: Path):
    net = load_model(model)
    net.ir_version = onnx.IR_VERSION
    model.write_bytes(serialize(net))
    report = run(Job(model, recipe(tmp_path, "passes: [{quantize_int8: {select: all}}]")))
    assert report.output is not None
    newest = newest_ir_version()
    assert newest is not None
    assert load_model(Path(report.output.path)).ir_version == min(newest, onnx.IR_VERSION)


def test_synthetic_calibration_is_said(model: Path, tmp_path: Path):
    report = run(Job(model, recipe(tmp_path, "passes: [{quantize_int8: {select: all}}]")))
    assert any("synthetic" in warning for warning in report.warnings)


def test_a_pass_that_reads_no_samples_does_not_ask_for_data(model: Path, tmp_path: Path):
    report = run(Job(model, recipe(tmp_path, "passes: [{quantize_int8: {mode: dynamic}}]")))
    assert not any("synthetic" in warning for warning in report.warnings)


def test_outputs_far_from_the_original_are_said(model: Path, tmp_path: Path):
    near = run(Job(model, recipe(tmp_path, "passes: [{quantize_int8: {select: all}}]")))
    far = run(Job(model, recipe(tmp_path, "passes: [{prune_magnitude: {sparsity: 0.9}}]"), overwrite=True))
    assert not any("far from" in warning for warning in near.warnings)
    assert any("far from the original's" in warning for warning in far.warnings)


def test_an_existing_output_is_kept_unless_told_otherwise(model: Path, tmp_path: Path):
    (tmp_path / "net.test.onnx").write_text("mine")
    one = recipe(tmp_path, "passes: [{quantize_int8: {select: all}}]")
    with pytest.raises(OutputError, match="exists already"):
        run(Job(model, one))
    assert (tmp_path / "net.test.onnx").read_text() == "mine"
    run(Job(model, one, overwrite=True))
    load_model(tmp_path / "net.test.onnx")


def test_the_input_is_never_the_output(model: Path, tmp_path: Path):
    before = model.read_bytes()
    with pytest.raises(OutputError, match="is the input model"):
        run(Job(model, recipe(tmp_path, "passes: [{quantize_int8: {select: all}}]"), model, overwrite=True))
    assert model.read_bytes() == before


def test_ctrl_c_leaves_nothing(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from onnx_pare.pipeline import measure

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "measure", interrupted)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        run(Job(model, recipe(tmp_path, "passes: [{quantize_int8: {select: all}}]")))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "test.yaml"]


@pytest.mark.parametrize(
    "entry", ["quantize_fp16: {storage_only: true}", "quantize_weights: {min_elements: 64}"]
)
def test_a_large_model_becomes_the_same_file(model: Path, tmp_path: Path, monkeypatch, entry: str):
    text = f"calibration: {{samples: 4}}\npasses: [{{{entry}}}]\nbenchmark: {{runs: 3}}"
    (tmp_path / "test.yaml").write_text(f"version: 1\n{text}")
    job = Job(model, load_recipe(str(tmp_path / "test.yaml")), overwrite=True)
    usual = run(job)
    expected = job.target.read_bytes()
    monkeypatch.setattr(lean, "LARGE_BYTES", 1)
    monkeypatch.setattr(wire, "STREAMED_BYTES", 256)
    large = run(job)
    assert job.target.read_bytes() == expected
    assert large.output == usual.output
    assert large.before == usual.before
    assert large.after == usual.after
    assert large.fidelity.sqnr_db == pytest.approx(usual.fidelity.sqnr_db, abs=0.01)
    assert set(large.warnings) - set(usual.warnings) == {f"local: {APART}"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "net.test.onnx", "test.yaml"]


def test_a_large_model_may_become_small_on_its_way(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its weights are then no longer looked for in the file of the pass before, which is gone."""
    monkeypatch.setattr(wire, "STREAMED_BYTES", 1200)  # `a` of 2048 bytes, but not its half
    monkeypatch.setattr(lean, "LARGE_BYTES", model.stat().st_size - 500)
    passes = ["prune_magnitude: {method: magnitude}", "quantize_fp16: {storage_only: true}"]
    report = run(Job(model, recipe(tmp_path, f"passes: [{{{passes[0]}}}, {{{passes[1]}}}]")))
    assert [record.changed > 0 for record in report.passes] == [True, True]
    assert report.after["size_bytes"] < lean.LARGE_BYTES <= report.before["size_bytes"]
    assert report.after["nonzero_params"] < report.before["nonzero_params"]


def test_weights_of_a_large_model_are_not_in_memory_after_a_pass(model: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(lean, "LARGE_BYTES", 1)
    monkeypatch.setattr(wire, "STREAMED_BYTES", 256)
    held: list[set[str]] = []

    def spy(ready, original, chain, progress):
        values = chain.model.graph.initializers.values()
        held.append({v.name for v in values if not isinstance(v.const_value, ir.LazyTensor)})
        assert chain.runnable != chain.path
        return measure(ready, original, chain, progress)

    monkeypatch.setattr("onnx_pare.pipeline.measure.measure", spy)
    run(Job(model, recipe(tmp_path, "passes: [{quantize_weights: {min_elements: 64, format: cast}}]")))
    assert held == [{"a_scale", "b_codes", "b_scale"}]
