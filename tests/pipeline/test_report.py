from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from onnx_pare.bench.fidelity import Fidelity
from onnx_pare.graph.signature import Port, Signature
from onnx_pare.pipeline.baseline import Compared
from onnx_pare.pipeline.gates import GateResult
from onnx_pare.pipeline.machine import Machine
from onnx_pare.pipeline.report import ModelFile, PassRecord, Report

IDENTICAL = Fidelity(
    samples=4,
    sqnr_db=math.inf,
    top1_agreement=None,
    cosine=1.0,
    max_abs_error=math.inf,
    random_data=True,
    outputs=(),
    notes=(),
)
COSTS = {"size_bytes": 10, "params": 1, "macs": 0}


@pytest.fixture
def report() -> Report:
    file = ModelFile("a.onnx", "00", 10)
    return Report(
        command="optimize a.onnx",
        seed=0,
        model=file,
        signature=Signature((Port("x", "float32", ("N", 3, None)),), (Port("y", "", None),)),
        opset=17,
        recipe={"version": 1},
        recipe_origin="shipped recipe int8",
        calibration_source="synthetic (seed 0)",
        calibration_samples=4,
        calibration_random=True,
        passes=(PassRecord("simplify", {}, 0.12345, 0, {}, math.inf, None),),
        before=COSTS,
        after=COSTS,
        fidelity=IDENTICAL,
        accuracy=None,
        latency=(),
        gates=(GateResult("sqnr_db>=10", math.inf, True, bound=10),),
        warnings=("w",),
        output=file,
        machine=Machine("a CPU", 2, "1.0"),
        seconds=1.23456,
        peak_rss_bytes=5,
    )


def test_there_is_nothing_json_cannot_say(report: Report):
    found = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert found["fidelity"]["sqnr_db"] == 200
    assert found["fidelity"]["max_abs_error"] is None
    assert found["passes"][0]["sqnr_db"] == 200
    gate = {"expr": "sqnr_db>=10", "value": 200, "bound": 10, "passed": True, "reason": ""}
    assert found["gates"] == [gate]


def test_an_infinite_bound_is_that_of_identical_outputs(report: Report):
    gate = GateResult("sqnr_db>=baseline", 40, False, "", math.inf)
    assert replace(report, gates=(gate,)).to_json()["gates"][0]["bound"] == 200


def test_what_it_was_compared_with(report: Report):
    assert report.to_json()["baseline"] is None
    compared = Compared(Path("old.json"), "0.1", "11", ("threads 1, here 2",), ("w",))
    assert replace(report, baseline=compared).to_json()["baseline"] == {
        "path": "old.json",
        "tool_version": "0.1",
        "model_sha256": "11",
        "differences": ["threads 1, here 2"],
    }


def test_ports_keep_symbols_and_unknowns(report: Report):
    model = report.to_json()["model"]
    assert model["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["N", 3, None]}]
    assert model["outputs"] == [{"name": "y", "dtype": "", "shape": None}]


def test_one_gate_that_is_not_met_fails_the_report(report: Report):
    assert report.passed
    failed = GateResult("speedup>=9", None, False, "was not measured")
    assert not replace(report, gates=(*report.gates, failed)).passed
