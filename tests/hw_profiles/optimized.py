"""What onnxruntime makes of a small network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from onnx_pare.graph.session import Session
from onnx_pare.hw_profiles.micronet import Micro


def optimized(tmp_path: Path, micro: Micro, *, integers: bool) -> list[str]:
    """Run a network in onnxruntime, and return the operators that it really ran."""
    proto, feeds = micro.build(integers=integers)
    onnx.checker.check_model(proto, full_check=True)
    path = tmp_path / "micro.onnx"
    onnx.save(proto, path)
    session = Session(path, optimized_path=tmp_path / "optimized.onnx")
    assert all(np.isfinite(output).all() for output in session.run(feeds))
    return [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
