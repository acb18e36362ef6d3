from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from onnx_pare import __version__
from onnx_pare.errors import ReportError, UsageError
from onnx_pare.pipeline.baseline import Baseline, open_baseline
from onnx_pare.pipeline.conditions import read_gate
from onnx_pare.pipeline.machine import Machine
from tests.pipeline.reports import SHA, report

LOCAL = {"local": "measured"}
HERE = Machine("a CPU", 2, "1.0")


def opened(folder: Path, *gates: str, kinds: dict[str, str] | None = None, **changed: Any) -> Baseline:
    (folder / "old.json").write_text(json.dumps(report(**changed)))
    found = open_baseline(folder / "old.json", [read_gate(gate) for gate in gates], kinds or LOCAL)
    assert found is not None
    return found


def test_its_numbers(tmp_path: Path) -> None:
    values = opened(tmp_path, "latency_ms<=baseline").values
    assert values["latency_ms"] == {"local": 1.5}
    assert values["size_ratio"] == 0.25


def test_without_gates_that_compare_there_is_none() -> None:
    assert open_baseline(None, [read_gate("speedup>=1.5")], LOCAL) is None


def test_a_gate_that_compares_with_nothing() -> None:
    with pytest.raises(UsageError) as caught:
        open_baseline(None, [read_gate("speedup>=1"), read_gate("size_bytes<=baseline")], LOCAL)
    assert caught.value.message == "gate 'size_bytes<=baseline' compares with a baseline, and none is given"
    assert "--baseline REPORT" in caught.value.hint


def test_a_baseline_that_nothing_compares_with(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--baseline .*old\.json: no gate compares with it"):
        opened(tmp_path, "speedup>=1")


@pytest.mark.parametrize(
    ("gate", "changed", "said"),
    [
        ("top1_drop<=baseline", {"accuracy": None}, "has no top1_drop, which gate 'top1_drop<=baseline'"),
        ("top1_agreement>=baseline", {"fidelity": {"top1_agreement": None, "sqnr_db": 3}}, "top1_agreement,"),
        ("latency_ms<=baseline", {"latency": []}, "has no latency_ms for profile 'local', which gate"),
        ("latency_ms[loacl]<=baseline", {}, "profile 'loacl'"),
        ("latency_ms[loacl]<=baseline", {}, "did you mean 'local'?"),
    ],
)
def test_what_it_has_not_is_found_before_the_work(
    tmp_path: Path, gate: str, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(ReportError) as caught:
        opened(tmp_path, gate, **changed)
    assert caught.value.message.startswith(f"{tmp_path / 'old.json'}: has no ")
    assert said in caught.value.message


@pytest.mark.parametrize("metric", ["latency_ms", "speedup", "speedup[pi]"])
def test_measured_and_predicted_are_never_compared(tmp_path: Path, metric: str) -> None:
    entry = {"profile": "pi", "kind": "predicted", "before_ms": 3.0, "after_ms": 1.0, "speedup": 3.0}
    with pytest.raises(ReportError, match="latency of 'pi' was predicted there and is measured here"):
        opened(tmp_path, f"{metric}<=baseline", latency=[entry], kinds={"pi": "measured"})
    assert opened(tmp_path, f"{metric}<=baseline", latency=[entry], kinds={"pi": "predicted"})


def test_a_profile_that_no_gate_is_about_may_be_missing(tmp_path: Path) -> None:
    kinds = {**LOCAL, "raspberry-pi-4": "predicted"}
    assert opened(tmp_path, "latency_ms[local]<=baseline", kinds=kinds)
    with pytest.raises(ReportError, match="profile 'raspberry-pi-4'"):
        opened(tmp_path, "latency_ms<=baseline", kinds=kinds)


def test_the_same_run_again(tmp_path: Path) -> None:
    tool = {"name": "onnx-pare", "version": __version__}
    found = opened(tmp_path, "latency_ms<=baseline", tool=tool)
    same = {**report()["recipe"], "gates": ["latency_ms<=baseline"], "origin": "elsewhere/r.yaml"}
    compared = found.compared(SHA, same, HERE)
    assert (compared.differences, compared.warnings) == ((), ())
    assert (compared.model_sha256, compared.tool_version) == (SHA, __version__)


def test_what_differs_is_said(tmp_path: Path) -> None:
    tool = {"name": "onnx-pare", "version": "0.0.9"}
    found = opened(tmp_path, "latency_ms<=baseline", tool=tool)
    recipe = report()["recipe"]
    recipe["passes"] = [{"simplify": {}}]
    recipe["calibration"] = {"data": "cal.npz", "samples": 64}
    recipe["benchmark"] = {**recipe["benchmark"], "threads": 4, "batch": 8}
    compared = found.compared("11", recipe, Machine("another CPU", 8, "1.1"))
    assert compared.differences == (
        "another input model",
        "recipe: calibration.data, calibration.samples, passes",
        f"onnx-pare 0.0.9, here {__version__}",
        "benchmark.batch 1, here 8",
        "benchmark.threads 1, here 4",
        "CPU a CPU, here another CPU",
        "cores 2, here 8",
        "onnxruntime 1.0, here 1.1",
    )
    (warning,) = compared.warnings
    assert warning == (
        f"latency is compared with {tmp_path / 'old.json'}, measured otherwise: benchmark.batch 1, here 8; "
        "benchmark.threads 1, here 4; CPU a CPU, here another CPU; cores 2, here 8; onnxruntime 1.0, here 1.1"
    )


@pytest.mark.parametrize("gate", ["size_bytes<=baseline", "latency_ms[pi]<=baseline"])
def test_another_machine_matters_only_where_times_are_measured(tmp_path: Path, gate: str) -> None:
    entry = {"profile": "pi", "kind": "predicted", "after_ms": 1.0, "speedup": 3.0}
    kinds = {"pi": "predicted"}
    found = opened(tmp_path, gate, latency=[entry], kinds=kinds)
    compared = found.compared(SHA, report()["recipe"], Machine("another CPU", 2, "1.0"))
    assert compared.differences == ("CPU a CPU, here another CPU",)
    assert compared.warnings == ()


def test_a_report_that_does_not_know_its_machine(tmp_path: Path) -> None:
    found = opened(tmp_path, "speedup[local]>=baseline", machine=None)
    compared = found.compared(SHA, report()["recipe"], HERE)
    assert compared.differences == ("on a machine that is not known",)
    assert compared.warnings
