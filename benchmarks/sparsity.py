"""Pruning without training: accuracy by method and pattern, on the CIFAR-10 models of $PARE_SHARED.

    python benchmarks/sparsity.py [--only GLOB] [--samples 512] [--cases NAME …] [--synthetic]

Each model is simplified once; `prune_magnitude` then runs in a process of its own, on calibration samples, and
the result is evaluated on labelled images that it has not seen. Columns: top-1 in %, its change against the
float model in points, share of images of the same top-1 class as the float model's, SQNR of the outputs,
Deflate size of the weights against before, seconds, and the peak memory of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from real_models import CASES, SHARED

PATTERNS: dict[str, dict[str, Any]] = {
    "50 %": {"sparsity": 0.5},
    "50 % global": {"sparsity": 0.5, "scope": "global"},
    "2:4": {"pattern": "2:4"},
    "1x4 blocks": {"sparsity": 0.5, "block": [1, 4]},
    "4x1 blocks": {"sparsity": 0.5, "block": [4, 1]},
    "70 %": {"sparsity": 0.7},
    "70 % global": {"sparsity": 0.7, "scope": "global"},
}
METHODS = ("magnitude", "reconstruct")


def open_samples(model: Any, name: str, part: str, limit: int | None = None) -> Any:
    from onnx_pare.calibration.data import open_samples
    from onnx_pare.calibration.preprocess import preprocessing

    case = CASES[name]
    path = SHARED / "data" / f"{case.data}_{part}.npz"
    return open_samples(path, model, preprocess=preprocessing(case.preprocess), limit=limit)


def prune(source: str, target: str, name: str, options: str, samples: int) -> None:
    """Prune one model and print what that took, as JSON: what a process of its own does."""
    from onnx_pare.calibration.synthetic import synthetic_samples
    from onnx_pare.graph.load import load_model
    from onnx_pare.graph.save import write_model
    from onnx_pare.passes.base import Context
    from onnx_pare.passes.prune_magnitude import PruneMagnitude

    model = load_model(Path(source))
    data = synthetic_samples(model, count=-samples) if samples < 0 else open_samples(model, name, "calibration", samples)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        context = Context(data, Path(folder), threads=os.cpu_count() or 1)
        outcome = PruneMagnitude(PruneMagnitude.Options(**json.loads(options))).apply(model, context)
        seconds = time.perf_counter() - start
        write_model(outcome.model, Path(target))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    before, after = (outcome.notes[f"compressed_weight_bytes_{when}"] for when in ("before", "after"))
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb, "deflated": after / before}))
