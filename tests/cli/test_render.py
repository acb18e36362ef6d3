"""The summary: what a tired person sees."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from onnx_pare.bench.accuracy import AccuracyPair
from onnx_pare.bench.fidelity import Fidelity
from onnx_pare.cli import render
from onnx_pare.graph.signature import Signature
from onnx_pare.pipeline.baseline import Compared
from onnx_pare.pipeline.gates import GateResult
from onnx_pare.pipeline.machine import Machine
from onnx_pare.pipeline.report import ModelFile, PassRecord, Report


def costs(size_bytes: int, **others: int) -> dict[str, Any]:
    figures = {"params": 81_770, "nonzero_params": 81_770, "macs": 40_550_000, "effective_macs": 40_550_000}
    return {"size_bytes": size_bytes, "peak_activation_bytes": 147_500, "nodes": 9, **figures, **others}


def latency(**others: Any) -> dict[str, Any]:
    entry = {"profile": "local", "kind": "measured", "before_ms": 12.41, "after_ms": 4.54, "speedup": 2.7349}
    return {**entry, "interval": [2.61, 2.81], "threads": 1, "runs": 50, "unseen_ops": [], **others}


@pytest.fixture
def report() -> Report:
    return Report(
        command="optimize net.onnx",
        seed=0,
        model=ModelFile("net.onnx", "00", 332_018),
        signature=Signature((), ()),
        opset={"": 17},
        recipe={},
        recipe_origin="shipped recipe int8",
        calibration_source="images",
        calibration_samples=2000,
        calibration_random=False,
        passes=(
            PassRecord("simplify", {}, 1.34, 0, {}, math.inf, None),
            PassRecord("quantize_int8", {}, 0.22, 1500, {}, 33.94, 0.98),
        ),
        before=costs(332_018),
        after=costs(105_002),
        fidelity=Fidelity(2000, 34.21, 0.9844, 0.99, 0.5, False, (), ()),
        accuracy=AccuracyPair("top1", 2000, 0.915, 0.912),
        latency=(latency(),),
        gates=(GateResult("top1_drop<=0.01", 0.003, True), GateResult("size_bytes<=100", 105_002, False)),
        warnings=("3 of 9 images do not decode: [a].png; left out",),
        output=ModelFile("out/net.int8.onnx", "00", 105_002),
        machine=Machine("a CPU", 2, "1.0"),
        seconds=9.0,
        peak_rss_bytes=1,
    )


def shown(report: Report, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    render.summary(report, console, ["r.json"])
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


def test_all_of_it(report: Report) -> None:
    assert (
        shown(report)
        == """
net.onnx → net.int8.onnx  (shipped recipe int8)

                 before     after
size             332 kB    105 kB  3.16× smaller
latency local   12.4 ms   4.54 ms  2.73× faster [2.61, 2.81] measured
top-1           91.50 %   91.20 %  -0.30 points (2,000 labelled)
outputs                   34.2 dB  98.44 % same top-1 (2,000 samples)
MACs            40.55 M   40.55 M  same
activations    147.5 kB  147.5 kB  same

pass     simplify: nothing to do, 1.3 s
pass     quantize_int8: 1,500 changed, 33.9 dB, 0.2 s
warning  3 of 9 images do not decode: [a].png; left out
gate     met      top1_drop<=0.01  (is 0.003)
gate     NOT MET  size_bytes<=100  (is 105,002)
written  out/net.int8.onnx
report   r.json"""
    )


@pytest.mark.parametrize("width", [40, 50, 60, 80])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_cut(report: Report, width: int) -> None:
    text = shown(replace(report, latency=(latency(threads=16),)), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for number in ("332 kB", "105 kB", "12.4 ms", "4.54 ms", "40.55 M", "147.5 kB"):
        assert number in text
    for word in ("measured", "16", "smaller", "NOT"):
        assert word in text


def row(report: Report, name: str) -> str:
    (line,) = (line for line in shown(report, 120).splitlines() if line.startswith(f"{name} "))
    return " ".join(line.removeprefix(name).split())


def test_threads_and_kind_stand_beside_the_speed_up(report: Report) -> None:
    changed = replace(report, latency=(latency(threads=4, kind="predicted"),))
    assert row(changed, "latency local").endswith("[2.61, 2.81] predicted, 4 threads")


def test_a_model_that_is_no_classifier_and_has_no_labels(report: Report) -> None:
    fidelity = replace(report.fidelity, top1_agreement=None, samples=1)
    assert row(replace(report, fidelity=fidelity), "outputs") == "34.2 dB (1 sample)"
    random = replace(fidelity, random_data=True, samples=128, sqnr_db=math.inf)
    assert row(replace(report, fidelity=random), "outputs") == "identical (128 synthetic)"
    assert "top-1" not in shown(replace(report, accuracy=None, fidelity=random))


def test_pruned_weights_get_two_lines(report: Report) -> None:
    pruned = costs(332_018, nonzero_params=40_885, effective_macs=20_000_000)
    assert row(replace(report, after=pruned), "nonzero weights") == "81.77 k 40.88 k 2.00× fewer"
    assert row(replace(report, after=pruned), "MACs on nonzeros") == "40.55 M 20 M 2.03× fewer"
    assert "nonzero" not in shown(report)


def test_measured_zero_activations_get_one(report: Report) -> None:
    measured = replace(report, after=costs(332_018, effective_macs=20_000_000))
    assert row(measured, "MACs on nonzeros") == "40.55 M 20 M 2.03× fewer"
    assert "nonzero weights" not in shown(measured)


def test_a_gate_without_a_number_says_why(report: Report) -> None:
    gate = GateResult("top1_drop<=0.01", None, False, "needs labelled data")
    assert "gate     NOT MET  top1_drop<=0.01  (needs labelled data)" in shown(replace(report, gates=(gate,)))


def test_a_gate_against_a_baseline_shows_the_bound_and_what_else_differs(report: Report) -> None:
    gate = GateResult("size_bytes<=1.05*baseline", 105_002, False, "size_bytes is …", 99_750.0)
    compared = Compared(Path("old.json"), "0.1.0", "11", ("another input model", "recipe: passes"))
    text = shown(replace(report, gates=(gate,), baseline=compared), 120)
    assert "gate     NOT MET  size_bytes<=1.05*baseline  (is 105,002, the bound 99,750)\n" in text
    assert "baseline old.json  (another input model; recipe: passes)\n" in text
    same = replace(report, baseline=replace(compared, differences=()))
    assert "baseline old.json  (same model, recipe, version and machine)\n" in shown(same, 120)
