"""A report as JSON values, small, with all that is read of one."""

from __future__ import annotations

from typing import Any

SHA = "b0" * 32


def report(**changed: Any) -> dict[str, Any]:
    """Return a new report of a model that got smaller and faster."""
    whole = {
        "schema": "onnx-pare/report/1",
        "tool": {"name": "onnx-pare", "version": "0.1.0"},
        "model": {"path": "net.onnx", "sha256": SHA, "size_bytes": 100},
        "recipe": {
            "version": 1,
            "calibration": {"data": None, "samples": 128},
            "passes": [{"simplify": {}}, {"quantize_int8": {"mode": "static"}}],
            "benchmark": {"profiles": ["local"], "runs": 50, "threads": 1, "batch": 1},
            "gates": [],
            "origin": "r.yaml",
        },
        "passes": [
            {"name": "simplify", "seconds": 1.25, "changed": 0, "sqnr_db": 200.0, "top1_agreement": None},
            {"name": "quantize_int8", "seconds": 4.5, "changed": 3, "sqnr_db": 33.0, "top1_agreement": 0.75},
        ],
        "before": {"size_bytes": 100, "params": 10, "macs": 1000, "peak_activation_bytes": 50},
        "after": {"size_bytes": 25, "params": 5, "macs": 500, "peak_activation_bytes": 40},
        "fidelity": {"top1_agreement": 0.75, "sqnr_db": 33.0},
        "accuracy": {"metric": "top1", "samples": 4, "before": 0.75, "after": 0.5},
        "latency": [
            {"profile": "local", "kind": "measured", "before_ms": 3.0, "after_ms": 1.5, "speedup": 2.0}
        ],
        "gates": [
            {"expr": "speedup>=1.5", "value": 2.0, "bound": 1.5, "passed": True, "reason": ""},
            {
                "expr": "size_bytes<20",
                "value": 25,
                "bound": 20.0,
                "passed": False,
                "reason": "is 25",
            },
        ],
        "warnings": ["mind <this>"],
        "output": {"path": "net.int8.onnx", "sha256": "c3" * 32, "size_bytes": 25},
        "machine": {"cpu": "a CPU", "cores": 2, "onnxruntime": "1.0"},
    }
    return {**whole, **changed}
