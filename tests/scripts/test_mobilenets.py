"""MACs and parameters of MobileNets, against the papers and TensorFlow's table of models."""

from __future__ import annotations

import pytest
from mobilenets import FLOAT_BYTES, mobilenet


@pytest.mark.parametrize(
    ("version", "width", "size", "million_macs", "million_params"),
    [
        (1, 1.0, 224, 569, 4.24),
        (1, 0.25, 128, 14, 0.47),
        (2, 1.0, 224, 300, 3.47),
        (2, 1.4, 224, 582, 6.06),
        (2, 0.35, 96, 11, 1.66),
    ],
)
def test_size(version: int, width: float, size: int, million_macs: float, million_params: float) -> None:
    kernels = mobilenet(version, width, size)
    assert sum(k.macs for k in kernels) / 1e6 == pytest.approx(million_macs, rel=0.09, abs=0.6)
    assert sum(k.weight_bytes for k in kernels) / FLOAT_BYTES / 1e6 == pytest.approx(million_params, rel=0.02)
