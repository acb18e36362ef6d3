from __future__ import annotations

import onnxruntime as ort

from onnx_pare.hw_profiles.cpu import features
from onnx_pare.pipeline.machine import this_machine


def test_what_decides_how_long_a_model_takes() -> None:
    cpu = features()
    assert this_machine().to_json() == {"cpu": cpu.name, "cores": cpu.cores, "onnxruntime": ort.__version__}
