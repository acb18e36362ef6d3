"""Which number each gate gets, and that the report and the gates agree."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.graph.save import write_model
from onnx_pare.pipeline.metrics import METRICS
from onnx_pare.pipeline.plan import Job
from onnx_pare.pipeline.recipe import load_recipe
from onnx_pare.pipeline.report import Report
from onnx_pare.pipeline.run import run
from tests.hw_profiles.board import BOARD, know_board_costs

RELUS = """<ir_version: 8, opset_import: ["": 17]>
g (float[N, 64] x) => (float[N, 64] y) { a = Relu(x) b = Relu(a) c = Relu(b) y = Relu(c) }"""


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """Run a recipe with a gate on every metric over a small classifier."""
    net = ir.from_onnx_text(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[N, 64] x) => (float[N, 6] y) { y = MatMul(x, w) }"""
    )
    weight = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
    value = ir.convenience.create_value_mapping(net.graph)["w"]
    value.const_value = ir.tensor(weight, name="w")
    net.graph.register_initializer(value)
    write_model(net, tmp_path / "net.onnx")
    x = np.random.default_rng(1).normal(size=(40, 64)).astype(np.float32)
    np.savez(tmp_path / "val.npz", x=x, y=(x @ weight).argmax(axis=1))
    gates = ", ".join(f"'{metric}>=-1000'" for metric in METRICS)
    (tmp_path / "r.yaml").write_text(
        "version: 1\ncalibration: {data: val.npz, samples: 20}\nevaluation: {data: val.npz}\n"
        f"passes: [{{quantize_int8: {{select: all}}}}]\nbenchmark: {{runs: 3}}\ngates: [{gates}]\n"
    )
    return run(Job(tmp_path / "net.onnx", load_recipe(str(tmp_path / "r.yaml"))))


def test_other_hardware_is_predicted_and_gates_see_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    know_board_costs(monkeypatch)
    write_model(ir.from_onnx_text(RELUS), tmp_path / "net.onnx")
    shutil.copy(BOARD, tmp_path / "board.yaml")
    (tmp_path / "r.yaml").write_text(
        "version: 1\npasses: [simplify]\nbenchmark: {profiles: [local, board.yaml], runs: 3}\n"
        "gates: ['speedup[board.yaml]>=1.5', 'latency_ms[board.yaml]<=0.1', 'speedup[board.yaml]>=99']\n"
    )
    report = run(Job(tmp_path / "net.onnx", load_recipe(str(tmp_path / "r.yaml"))))
    measured, predicted = report.latency
    assert (measured["kind"], predicted["kind"]) == ("measured", "predicted")
    assert set(measured) <= set(predicted)
    # of four Relus one is left; each takes half an overhead of 0.1 ms
    assert predicted["speedup"] == pytest.approx(4, rel=0.01)
    assert [gate.passed for gate in report.gates] == [True, True, False]


def test_every_metric_has_its_number(report: Report):
    assert report.accuracy is not None
    (latency,) = report.latency
    before, after = report.before, report.after
    expected = {
        "top1_drop": report.accuracy.before - report.accuracy.after,
        "top1_agreement": report.fidelity.top1_agreement,
        "sqnr_db": report.fidelity.sqnr_db,
        "speedup": latency["speedup"],
        "latency_ms": latency["after_ms"],
        "size_ratio": after["size_bytes"] / before["size_bytes"],
        "size_bytes": after["size_bytes"],
        "macs_ratio": 1.0,
        "params_ratio": 1.0,
        "peak_memory_bytes": after["peak_activation_bytes"],
    }
    found = {gate.expr.partition(">=")[0]: gate.value for gate in report.gates}
    assert found == expected
    assert report.passed


def test_accuracy_is_that_of_the_labels(report: Report):
    assert report.accuracy is not None
    assert report.accuracy.before == 1.0
    assert report.accuracy.samples == 40
    assert report.fidelity.samples == 20
    assert report.before["macs"] == 64 * 6
