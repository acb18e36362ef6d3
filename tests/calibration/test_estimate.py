from __future__ import annotations

import pytest

from onnx_pare.calibration.estimate import estimate


@pytest.mark.parametrize(
    ("seconds", "batch_bytes", "expected"),
    [
        (0.25, 350_000_000, "512 samples: about 4.0 s, 0.7 GB beside the model"),
        (2.5, 5_000_000, "512 samples: about 40 s, 10.0 MB beside the model"),
        (25, 5_000_000, "512 samples: about 7 min, 10.0 MB beside the model"),
    ],
)
def test_the_first_batch_is_extrapolated(seconds: float, batch_bytes: int, expected: str):
    assert estimate(512, 32, seconds, batch_bytes) == expected
