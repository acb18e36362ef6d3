"""The keys of the JSON documents, to the letter: other programs read them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

COST = {
    "size_bytes", "params", "nonzero_params", "macs", "effective_macs", "peak_activation_bytes", "nodes",
    "uncounted_ops",
}  # fmt: skip
LATENCY = {
    "profile", "kind", "before_ms", "after_ms", "speedup", "interval", "threads", "runs", "unseen_ops",
}  # fmt: skip
FIDELITY = {"samples", "top1_agreement", "sqnr_db", "cosine", "max_abs_error", "random_data"}
ACCURACY = {"metric", "samples", "before", "after"}
FAST = ("--set", "benchmark.profiles=[local]", "--set", "benchmark.runs=3")


@pytest.fixture
def labelled(folder: Any) -> str:
    np.savez("val.npz", x=np.eye(16, dtype=np.float32), y=np.arange(16) % 5)
    return "val.npz"


def document(ran: Any) -> dict[str, Any]:
    """Return the JSON on stdout, which holds no NaN and no infinity."""
    assert (ran.code, ran.err) == (0, "")

    def refused(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    found: dict[str, Any] = json.loads(ran.out, parse_constant=refused)
    return found


def test_optimize(command: Any, labelled: str) -> None:
    run = ("optimize", "net.onnx", "-c", "r.yaml", *FAST, "--eval", labelled, "--gate", "sqnr_db>=1")
    found = document(command(*run, "--report-json", "-"))
    assert found["schema"] == "onnx-pare/report/1"
    assert set(found) == {
        "schema", "tool", "seed", "command", "model", "recipe", "calibration", "passes", "before", "after",
        "fidelity", "accuracy", "latency", "gates", "baseline", "warnings", "output", "machine", "seconds",
        "peak_rss_bytes",
    }  # fmt: skip
    assert set(found["tool"]) == {"name", "version"}
    assert set(found["model"]) == {"path", "sha256", "size_bytes", "opset", "inputs", "outputs"}
    for port in (*found["model"]["inputs"], *found["model"]["outputs"]):
        assert set(port) == {"name", "dtype", "shape"}
    assert set(found["calibration"]) == {"source", "samples", "random"}
    for entry in found["passes"]:
        assert set(entry) == {
            "name", "options", "seconds", "changed", "notes", "sqnr_db", "top1_agreement",
        }  # fmt: skip
    assert set(found["before"]) == set(found["after"]) == COST
    assert set(found["fidelity"]) >= FIDELITY
    assert set(found["accuracy"]) == ACCURACY
    assert [set(entry) for entry in found["latency"]] == [LATENCY]
    assert found["latency"][0]["kind"] == "measured"
    assert len(found["latency"][0]["interval"]) == 2
    assert [set(gate) for gate in found["gates"]] == [{"expr", "value", "bound", "passed", "reason"}]
    assert found["baseline"] is None
    assert set(found["machine"]) == {"cpu", "cores", "onnxruntime"}
    assert set(found["output"]) == {"path", "sha256", "size_bytes"}
    assert isinstance(found["peak_rss_bytes"], int)


def test_inspect(command: Any, folder: Any) -> None:
    found = document(command("pare", "inspect", "net.onnx", "--json", "-"))
    assert found["schema"] == "onnx-pare/inspect/1"
    assert set(found) == {"schema", "totals", "nodes", "uncounted_ops", "sparsity"}
    assert set(found["totals"]) >= {
        "macs", "params", "weight_bytes", "activation_bytes", "peak_activation_bytes",
    }  # fmt: skip
    for node in found["nodes"]:
        assert set(node) == {
            "name", "op", "macs", "params", "weight_bytes", "read_bytes", "written_bytes",
            "output_shape", "dtype", "weight_sparsity",
            "effective_macs", "input_zero_fraction", "zeros", "negatives",
        }  # fmt: skip


def test_bench(command: Any, folder: Any) -> None:
    found = document(command("pare", "bench", "net.onnx", "--runs", 3, "--json", "-"))
    assert found["schema"] == "onnx-pare/bench/1"
    assert set(found) == {"schema", "results"}
    (result,) = found["results"]
    expected = (LATENCY - {"before_ms", "after_ms", "speedup"}) | {"model", "latency_ms"}
    assert expected <= set(result)
    assert result["kind"] == "measured"


def test_compare(command: Any, labelled: str) -> None:
    assert command("optimize", "net.onnx", "-c", "r.yaml", "-o", "b.onnx").code == 0
    run = ("pare", "compare", "net.onnx", "b.onnx", "--labels", labelled, "--runs", 3)
    found = document(command(*run, "--json", "-"))
    assert found["schema"] == "onnx-pare/compare/1"
    assert set(found) >= {"schema", "a", "b", "fidelity", "accuracy", "latency"}
    assert set(found["a"]) >= COST
    assert set(found["b"]) >= COST
    assert set(found["fidelity"]) >= FIDELITY
    assert set(found["accuracy"]) == ACCURACY
    assert [set(entry) for entry in found["latency"]] == [LATENCY]


@pytest.mark.parametrize(
    "arguments",
    [("profiles", "list"), ("profiles", "show", "local"), ("passes", "list"), ("passes", "show", "simplify"),
     ("recipes", "list"), ("recipes", "show", "int8"), ("recipes", "schema"), ("doctor",)],
    ids=" ".join,
)  # fmt: skip
def test_lists_and_facts(command: Any, arguments: tuple[str, ...]) -> None:
    assert document(command("pare", *arguments, "--json", "-"))
